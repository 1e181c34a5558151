#include "cpu/bt/translator.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/assert.hpp"
#include "cpu/bt/gs_base.hpp"

namespace vellum::bt {

using interp::Flow;

namespace {

constexpr std::size_t kLargestUnit = 64 << 10;  // bytes of host code; 32 instructions come nowhere near

}  // namespace

Translator::Translator(unsigned index, AddressSpace& space, VcpuBoard& board, Clock& clock,
                       const x86::CpuModel& model, Hazards& hazards, const Options& options)
    : options_(options),
      block_(index, space, board, clock, model, hazards),
      interp_(block_.interpreter()),
      v_(interp_.vcpu()),
      context_(block_.context()),
      cache_(options.cache_bytes),
      perf_map_(options.perf_map, index == 0),
      counted_(options.count == Options::Count::kOn ||
               (options.count == Options::Count::kAuto && clock.is_virtual())),
      called_out_by_(new Counter[ZYDIS_MNEMONIC_MAX_VALUE + 1]) {
  context_.owner = this;
  context_.host_tsc_lead = clock.host_tsc_lead().value_or(0);
  distances_.state = block_.state_distance();
  const Callbacks callbacks{
      .run = [](void* owner, const Site* site) { return static_cast<Translator*>(owner)->run_site(*site); },
      .access = [](void* owner, const Site* site,
                   u64 linear) { return static_cast<Translator*>(owner)->slow_access(*site, linear); },
      .host_fault = [](void* owner, const Site* site,
                       u64 linear) { return static_cast<Translator*>(owner)->host_fault(*site, linear); },
      .code_store = [](void* owner, const Site* site,
                       const u8* host) { return static_cast<Translator*>(owner)->code_store(*site, host); },
      .missed_return = [](void* owner,
                          const Site* site) { return static_cast<Translator*>(owner)->missed_return(*site); },
      .open_vectors =
          [](void* owner, u64 needed) {
            return static_cast<Translator*>(owner)->open_needed_vectors(static_cast<u32>(needed));
          },
  };
  routines_ = emit_routines(cache_, context_, distances_, callbacks);
  routines_end_ = cache_.used();
  perf_map_.add(cache_.begin(), cache_.used(), "bt:routines");
  v_.mmu.attach_front(context_.tlb);
  if (options_.memory != Options::Memory::kHashed) open_flat_tables();
  interp_.set_runner(*this, options_.unit, counted_);
  selected_ = {&kNoJumps, &kNoJumps};
  if (!counted_) {
    v_.space.ram.watch_code(*this);
    v_.hazards.set_kicker(this);
  }
  arm();
}

Translator::~Translator() {
  if (counted_) return;
  v_.hazards.drop_kicker(*this);
  v_.space.ram.unwatch_code(*this);
}

// Any thread: something pends. Translated code meets it at its next look-up or poll.
void Translator::kick() {
  for (auto& table : context_.jump_table) table.store(&kNoJumps, std::memory_order_seq_cst);
  context_.poll.store(nullptr, std::memory_order_seq_cst);
}

// Takes kick() back, unless something pends still, or again. An interrupt that the guest does not let in is
// no reason to leave: STI looks at the word of hazards itself, and all else that lets it in calls out.
void Translator::arm() {
  for (unsigned half = 0; half < 2; ++half)
    context_.jump_table[half].store(selected_[half], std::memory_order_seq_cst);
  context_.poll.store(&context_, std::memory_order_seq_cst);
  const u32 pending = counted_ ? 0 : v_.hazards.load_seq_cst();
  if (pending == 0 || (pending == Hazards::kInterrupt && (v_.state.rflags & x86::rflags::kIf) == 0)) return;
  kick();
}

Exit Translator::run(Budget budget) {
  set_gs_base(&context_);
  const HostFaultScope scope(*this);
  return interp_.run(budget);
}

Flow Translator::run(const interp::Unit& unit, u32 key, u64 limit, u64& done) {
  const u64 linear = v_.state.rip;
  const std::optional<u32> pending = pending_link_;
  pending_link_.reset();
  Translation* t = nullptr;
  const bool by_handlers = std::exchange(by_handlers_, false);
  if (!by_handlers && limit >= unit.count && unit.page != nullptr && !unit.wraps(linear))
    t = find(unit, linear);
  if (t == nullptr) return interp::Interpreter::run_unit(v_, unit, limit, done);
  if (retry_.armed) access_again();

  if (code_contexts_.exhausted()) {
    flush();
    code_contexts_.restart();
    code_key_ = ~0u;
    return interp::Interpreter::run_unit(v_, unit, limit, done);
  }
  // Between the jump that is to be linked and its target an event may have come, and interpreted code that
  // changed the mode or the mapping.
  const bool linkable = key == code_key_ && v_.mmu.code_map_stamp(linear) == code_stamps_[linear >> 63];
  select_code_contexts(key);
  look_at_segments();
  add_jump(linear, t->linked);
  if (pending && linkable && !unit.crosses() && *pending < links_.size() &&
      links_[*pending].target == linear) {
    link(*pending, *t);
  }

  if (context_.poll.load(std::memory_order_relaxed) == nullptr) arm();
  const i64 left = static_cast<i64>(std::min(limit, u64{std::numeric_limits<i64>::max()}));
  context_.left = left;
  context_.flags = pack_flags(v_.state.rflags);
  entries_.add();
  forget_returns();
  // SAFETY: code that this engine emitted; the GS base is the Context (run()).
  const auto why = static_cast<Leave>(routines_.enter(t->entered));
  v_.state.rflags = (v_.state.rflags & ~x86::rflags::kArithmetic) | unpack_flags(context_.flags);
  done += counted_ ? static_cast<u64>(left - context_.left) : 1;  // else only a sign of progress
  if (v_.trace.wants(TraceKind::kExits)) [[unlikely]]
    trace_leave(why);
  if (why == Leave::kFlow) return context_.flow;
  if (why == Leave::kClosed) {
    closed_units_.add();
    by_handlers_ = true;
  }
  if (why == Leave::kLink && options_.chain) pending_link_ = context_.link;
  return Flow::kJump;
}

void Translator::look_at_segments() {
  if (interp_.mode_64()) return;
  context_.limited = {!is_unlimited(v_.state.segment(x86::Seg::kFs)),
                      !is_unlimited(v_.state.segment(x86::Seg::kGs))};
}

Translator::Translation* Translator::find(const interp::Unit& unit, u64 linear) {
  if (unit.epoch == epoch_) {
    for (auto* t = static_cast<Translation*>(unit.translated); t != nullptr; t = t->next)
      if (t->linear == linear && !t->stale) return t->runs_left < 0 ? translate(unit, linear) : t;
  } else {
    unit.translated = nullptr;
    unit.epoch = epoch_;
  }
  if (unit.runs++ < options_.threshold) return nullptr;
  if (!cache_.room_for(kLargestUnit)) {
    flush();
    return nullptr;
  }
  return translate(unit, linear);
}

// Reads and decodes the unit's instructions again: the interpreter keeps only handlers.
bool Translator::decode(const interp::Unit& unit) {
  const GuestRam& ram = v_.space.ram;
  std::array<u8, 512> bytes{};
  static_assert(sizeof(bytes) >= interp::UnitCache::kMaxInstructions * x86::kMaxInstructionLength);
  const u64 here = std::min<u64>(unit.bytes, kPageSize - unit.start.page_offset());
  guest_copy(bytes.data(), ram.host(unit.start), here);
  if (here < unit.bytes) {
    if (!unit.crosses()) return false;
    guest_copy(bytes.data() + here, ram.host(unit.second_page), unit.bytes - here);
  }
  if (!unit.valid()) return false;
  const auto mode = interp_.mode_64() ? x86::CodeMode::kLong64 : x86::CodeMode::kProtected32;
  decoded_.resize(unit.count);
  std::size_t offset = 0;
  for (unsigned n = 0; n < unit.count; ++n) {
    const auto rest =
        std::span<const u8>(bytes).subspan(offset, std::min<std::size_t>(15, unit.bytes - offset));
    if (x86::decode(mode, rest, decoded_[n]) != x86::DecodeStatus::kOk) return false;
    if (decoded_[n].length() != unit.insns[n].length) return false;
    offset += decoded_[n].length();
  }
  return offset == unit.bytes;
}

Translator::Translation* Translator::translate(const interp::Unit& unit, u64 linear) {
  // 32-bit code that may run over 4 GiB, and go on at 0, is the interpreter's.
  const bool at_end = !interp_.mode_64() && linear >> kPageShift == 0xfffff;
  if (at_end || !decode(unit)) {
    refused_.add();
    unit.runs = 0;
    return nullptr;
  }
  if (!cache_.room_for(kLargestUnit)) {
    flush();
    return nullptr;
  }
  asmjit::CodeHolder holder;
  holder.init(asmjit::Environment::host());
  Translation& t = translations_.emplace_back();
  t.linear = linear;
  t.unit = &unit;
  t.wide = interp_.mode_64();
  plan(unit, t);
  const UnitSource source{.unit = unit,
                          .linear = linear,
                          .decoded = decoded_,
                          .translation = &t,
                          .wide = t.wide,
                          .counted = counted_,
                          .hot = t.hot,
                          .no_flat = t.no_flat,
                          .no_share = t.no_share,
                          .runs_left = t.runs_left > 0 ? &t.runs_left : nullptr,
                          .hazards = v_.hazards.address(),
                          .host_tsc = v_.clock.host_tsc_lead().has_value(),
                          .first_link = static_cast<u32>(links_.size()),
                          .returns = options_.returns,
                          .by_loop = options_.by_loop,
                          .model = v_.model};
  Emitter emitter(holder, distances_, source, sites_);
  const u8* code = emitter.emit() ? cache_.append(holder) : nullptr;
  if (code == nullptr) {
    translations_.pop_back();
    refused_.add();
    unit.runs = 0;
    return nullptr;
  }
  for (const LinkSpot& spot : emitter.links())
    links_.push_back({.at = code + spot.offset,
                      .guard = spot.guard != 0 ? code + spot.guard : nullptr,
                      .target = spot.target,
                      .vectors = spot.vectors});
  for (const Emitter::FaultSpot& spot : emitter.fault_spots()) {
    spot.site->resume = code + spot.resume;
    const u32 at = cache_.offset_of(code);
    fault_ranges_.push_back({at + static_cast<u32>(spot.begin), at + static_cast<u32>(spot.end), spot.site});
  }
  t.linked = code + emitter.linked_offset();
  t.entered = code + emitter.entered_offset(holder);
  if (!counted_ && t.runs_left == 0 && emitter.first_vectors() != 0) {
    t.checked = code + emitter.checked_offset();
    t.vectors = emitter.first_vectors();
  }
  t.refuse = code + emitter.refuse_offset(holder);
  t.next = static_cast<Translation*>(unit.translated);
  unit.translated = &t;
  t.page = unit.page;
  t.generation = unit.generation;
  t.second = unit.second;
  t.second_generation = unit.second_generation;
  take_over(t);
  if (v_.trace.wants(TraceKind::kUnits)) [[unlikely]]
    trace_unit(unit, linear, emitter, {code, holder.codeSize()});
  if (perf_map_.on()) perf_map_.add(code, holder.codeSize(), fmt::format("bt:{:x}", linear));
  translated_units_.add();
  translated_instructions_.add(unit.count);
  if (t.hot) hot_units_.add();
  return &t;
}

// What leads to earlier translations of the code at t's addresses leads to `t` from now on.
void Translator::take_over(Translation& t) {
  const auto before = [](const Translation* a, const Translation* b) {
    return a->linear % kPageSize < b->linear % kPageSize;
  };
  auto& of_page = by_page_[t.page];
  const auto [first, last] = std::equal_range(of_page.begin(), of_page.end(), &t, before);
  const auto kept = std::remove_if(first, last, [&](Translation* old) {
    if (old->page != t.page || old->linear != t.linear || old->second != t.second || old->wide != t.wide)
      return false;
    old->stale = true;
    take_links(*old, t);
    redirect(*old, t.linked, t.entered);
    return true;  // from here on it goes where `t` goes
  });
  of_page.insert(of_page.erase(kept, last), &t);
  if (t.second == nullptr || t.second == t.page) return;
  auto& of_second = by_page_[t.second];
  of_second.insert(std::upper_bound(of_second.begin(), of_second.end(), &t, before), &t);
}

// Any thread: only notes it.
void Translator::code_changed(const CodePage& page) {
  {
    const std::lock_guard lock(changed_mutex_);
    if (changed_.empty() || changed_.back() != &page) changed_.push_back(&page);
  }
  v_.hazards.set(Hazards::kCodeChanged);
}

// Between units: what was made from code that has been overwritten is not entered any more.
void Translator::code_changed() {
  std::vector<const CodePage*> changed;
  {
    const std::lock_guard lock(changed_mutex_);
    changed.swap(changed_);
  }
  for (const CodePage* page : changed) {
    const auto of_page = by_page_.find(page);
    if (of_page != by_page_.end()) refuse_outdated(of_page->second);
  }
}

// Sites refer to their units, and links and jump tables may still lead to translations of replaced ones:
// another vCPU's store may have changed a page's generation and not yet have said so (code_changed()), and a
// unit over the end of its page gives way when that page is followed by another.
void Translator::units_replaced() {
  for (const auto& [page, translations] : by_page_) {
    for (Translation* t : translations) {
      if (!t->stale && t->unit->page == nullptr) refuse(*t);  // UnitCache::replace() sets it so
    }
    refuse_outdated(translations);
  }
}

void Translator::refuse_outdated(std::span<Translation* const> of_page) {
  for (Translation* t : of_page)
    if (!t->stale && !t->valid()) refuse(*t);
}

void Translator::refuse(Translation& t) {
  t.stale = true;
  redirect(t, t.refuse, t.refuse);
}

void Translator::flush() {
  flushes_.add();
  ++epoch_;
  for (const KnownJumps& known : jump_tables_) known.table->clear();
  by_page_.clear();
  links_.clear();
  pending_link_.reset();
  translations_.clear();
  sites_.clear();
  fault_ranges_.clear();
  retry_.armed = false;
  cache_.truncate(routines_end_);
}

// From now on both ways into `from` lead elsewhere.
void Translator::redirect(const Translation& from, const u8* linked, const u8* entered) {
  cache_.patch_jump(from.linked, linked);
  cache_.patch_jump(from.entered, entered);
  if (from.checked != nullptr) cache_.patch_jump(from.checked, linked);
  routines_.serialize();
}

void Translator::stats(std::vector<StatRow>& rows) const {
  interp_.stats(rows);
  const std::string name = "bt" + std::to_string(v_.index);
  rows.push_back({name, "units translated", translated_units_.get(), 0});
  rows.push_back({name, "hot units translated", hot_units_.get(), 0});
  rows.push_back({name, "instructions translated", translated_instructions_.get(), 0});
  rows.push_back({name, "units not translatable", refused_.get(), 0});
  rows.push_back({name, "bytes of translated code", cache_.used(), 0});
  rows.push_back({name, "cache flushes", flushes_.get(), 0});
  rows.push_back({name, "entries", entries_.get(), 0});
  rows.push_back({name, "jumps linked", linked_.get(), 0});
  rows.push_back({name, "slow accesses", slow_accesses_.get(), 0});
  rows.push_back({name, "vector state loaded", vector_loads_.get(), 0});
  rows.push_back({name, "units with vector state not open", closed_units_.get(), 0});
  if (flat_) {
    rows.push_back({name, "host faults in translated code", host_faults_.get(), 0});
    rows.push_back({name, "pages entered in flat tables", flat_->fills(), 0});
    rows.push_back({name, "memory operands looked up instead", given_up_.get(), 0});
  }
  rows.push_back({name, "callouts", called_out_.get(), 0});
  rows.push_back({name, "units gone on to after a callout", continued_.get(), 0});
  constexpr u64 kNoticeable = 1000;
  for (unsigned m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; ++m) {
    if (called_out_by_[m].get() < kNoticeable) continue;
    rows.push_back({name,
                    std::string("callouts for ") + ZydisMnemonicGetString(static_cast<ZydisMnemonic>(m)),
                    called_out_by_[m].get(), 0});
  }
}

}  // namespace vellum::bt
