#include "cpu/bt/translator.hpp"

#include <algorithm>
#include <ctime>
#include <limits>
#include <utility>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "cpu/bt/gs_base.hpp"
#include "cpu/bt/vector_state.hpp"

namespace vellum::bt {

using interp::Flow;

namespace {

u32 host_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u32>(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
}

constexpr std::size_t kLargestUnit = 64 << 10;  // bytes of host code; 32 instructions come nowhere near
constexpr unsigned kFlatTables = 8;             // a vCPU: 512 GiB of address space each
constexpr u8 kFutileFaults = 3;
// So many faults of one operand in so short a time are a burst: with its signal and the host's own page
// faults one costs 10 to 50 us, a look-up 3 ns.
constexpr u8 kBurst = 8;
constexpr u32 kBurstMs = 4;
// After a burst an operand is looked up for so many runs of its unit, twice as many each time.
constexpr i32 kRunsAfterBurst = 1 << 14;
constexpr u8 kMostDoublings = 14;

// Where the kernel keeps host register n (hardware number) for a signal's handler.
constexpr std::array<int, 16> kSignalRegister = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                                 REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                                 REG_R12, REG_R13, REG_R14, REG_R15};

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
  selected_ = {&jump_table(0), &jump_table(0)};
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
  static const JumpTable nothing;
  for (auto& table : context_.jump_table) table.store(&nothing, std::memory_order_seq_cst);
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

// Without flat tables all memory operands are looked up.
void Translator::open_flat_tables() {
  auto flat = FlatTables::create(v_.space.ram, kFlatTables, context_.flat_slots);
  if (!flat) {
    spdlog::warn("no flat tables for vCPU {}: {}", v_.index, flat.error().message);
    return;
  }
  flat_ = std::move(*flat);
  v_.mmu.attach_flat(*flat_);
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
  const Translation* t = nullptr;
  const bool closed = std::exchange(closed_, false);
  if (!closed && limit >= unit.count && unit.page != nullptr && !unit.wraps(linear)) t = find(unit, linear);
  if (t == nullptr) return interp::Interpreter::run_unit(v_, unit, limit, done);
  if (retry_.armed) access_again();

  if (code_contexts_.exhausted()) {
    flush();
    code_contexts_.restart();
    code_key_ = ~0u;
    return interp::Interpreter::run_unit(v_, unit, limit, done);
  }
  select_code_contexts(key);
  jump_table_of(linear).insert(linear, t->linked);
  if (pending && !unit.crosses() && *pending < links_.size() && links_[*pending].target == linear) {
    link(links_[*pending], *t);
  }

  if (context_.poll.load(std::memory_order_relaxed) == nullptr) arm();
  const i64 left = static_cast<i64>(std::min(limit, u64{std::numeric_limits<i64>::max()}));
  context_.left = left;
  context_.flags = pack_flags(v_.state.rflags);
  entries_.add();
  // SAFETY: code that this engine emitted; the GS base is the Context (run()).
  const auto why = static_cast<Leave>(routines_.enter(t->entered));
  v_.state.rflags = (v_.state.rflags & ~x86::rflags::kArithmetic) | unpack_flags(context_.flags);
  done += counted_ ? static_cast<u64>(left - context_.left) : 1;  // else only a sign of progress
  if (v_.trace.wants(TraceKind::kExits)) [[unlikely]]
    trace_leave(why);
  if (why == Leave::kFlow) return context_.flow;
  if (why == Leave::kClosed) {
    closed_units_.add();
    closed_ = true;
  }
  if (why == Leave::kLink && options_.chain) pending_link_ = context_.link;
  return Flow::kJump;
}

void Translator::link(const Link& from, const Translation& to) {
  const u8* const entry = to.checked != nullptr && (to.vectors & ~from.vectors) == 0 ? to.checked : to.linked;
  cache_.patch32(from.at, static_cast<u32>(entry - (from.at + 4)));
  if (from.guard != nullptr) cache_.patch32(from.guard, 0 - context_.code_serial[from.target >> 63]);
  routines_.serialize();
  linked_.add();
}

// What look-ups by guest-virtual address must agree in: the mappings of both halves, and the privilege.
void Translator::select_code_contexts(u32 key) {
  const std::array<u64, 2> stamps{v_.mmu.code_map_stamp(0), v_.mmu.code_map_stamp(~u64{0})};
  if (key == code_key_ && stamps == code_stamps_) return;
  code_key_ = key;
  code_stamps_ = stamps;
  bool forget = false;
  const auto select_both = [&] {
    for (unsigned half = 0; half < 2 && !forget; ++half) {
      code_contexts_.select(stamps[half], key, forget);
      context_.code_serial[half] = code_contexts_.serial();
    }
  };
  select_both();
  if (forget) {  // the numbers started over, under other serials
    forget = false;
    select_both();
  }
  for (unsigned half = 0; half < 2; ++half) {
    selected_[half] = &jump_table(context_.code_serial[half]);
  }
  arm();
}

// The table for `serial`: the least recently used one gives way.
JumpTable& Translator::jump_table(u32 serial) {
  JumpTable* oldest = nullptr;
  for (const auto& table : jump_tables_) {
    if (table->serial == serial) {
      table->used = ++jump_clock_;
      return *table;
    }
    if (oldest == nullptr || table->used < oldest->used) oldest = table.get();
  }
  if (jump_tables_.size() < kJumpTables) {
    oldest = jump_tables_.emplace_back(std::make_unique<JumpTable>()).get();
  } else {
    oldest->clear();
  }
  oldest->serial = serial;
  oldest->used = ++jump_clock_;
  return *oldest;
}

const Translator::Translation* Translator::find(const interp::Unit& unit, u64 linear) {
  if (unit.epoch == epoch_) {
    for (auto* t = static_cast<const Translation*>(unit.translated); t != nullptr; t = t->next)
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
  decoded_.resize(unit.count);
  std::size_t offset = 0;
  for (unsigned n = 0; n < unit.count; ++n) {
    const auto rest =
        std::span<const u8>(bytes).subspan(offset, std::min<std::size_t>(15, unit.bytes - offset));
    if (x86::decode(x86::CodeMode::kLong64, rest, decoded_[n]) != x86::DecodeStatus::kOk) return false;
    if (decoded_[n].length() != unit.insns[n].length) return false;
    offset += decoded_[n].length();
  }
  return offset == unit.bytes;
}

// How `t`, of `unit`, is to be translated, from what became of it before.
void Translator::plan(const interp::Unit& unit, Translation& t) const {
  const Translation* before = nullptr;
  for (auto* p = static_cast<const Translation*>(unit.translated); p != nullptr && before == nullptr;
       p = p->next)
    if (p->linear == t.linear) before = p;
  const bool adaptive = flat_ != nullptr && options_.memory == Options::Memory::kAuto;
  t.hot = flat_ != nullptr && (!adaptive || options_.hot == 0);
  if (before != nullptr) {
    const bool again = before->runs_left < 0;
    t.hot = t.hot || before->hot || (adaptive && again);
    t.no_flat = before->no_flat;
    t.no_share = before->no_share;
    t.bursts = before->bursts;
    t.retries = before->retries;
    if (again && before->hot) {
      t.no_flat &= ~t.bursts;
      t.bursts = 0;
    }
  }
  if (adaptive && !t.hot)
    t.runs_left = static_cast<i32>(options_.hot);
  else if (t.hot && t.bursts != 0)
    t.runs_left = kRunsAfterBurst << std::min(t.retries, kMostDoublings);
}

const Translator::Translation* Translator::translate(const interp::Unit& unit, u64 linear) {
  if (!decode(unit)) {
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
  plan(unit, t);
  const UnitSource source{.unit = unit,
                          .linear = linear,
                          .decoded = decoded_,
                          .translation = &t,
                          .counted = counted_,
                          .hot = t.hot,
                          .no_flat = t.no_flat,
                          .no_share = t.no_share,
                          .runs_left = t.runs_left > 0 ? &t.runs_left : nullptr,
                          .hazards = v_.hazards.address(),
                          .host_tsc = v_.clock.host_tsc_lead().has_value(),
                          .first_link = static_cast<u32>(links_.size()),
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
    links_.push_back(
        {code + spot.offset, spot.guard != 0 ? code + spot.guard : nullptr, spot.target, spot.vectors});
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
  auto& of_page = by_page_[t.page];
  std::erase_if(of_page, [&](Translation* old) {
    if (old->linear != t.linear || old->second != t.second) return false;
    old->stale = true;
    redirect(*old, t.linked, t.entered);
    return true;  // from here on it goes where `t` goes
  });
  of_page.push_back(&t);
  if (t.second != nullptr && t.second != t.page) by_page_[t.second].push_back(&t);
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
    if (of_page == by_page_.end()) continue;
    for (Translation* t : of_page->second) {
      if (t->stale || t->valid()) continue;
      t->stale = true;
      redirect(*t, t->refuse, t->refuse);
    }
  }
}

void Translator::flush() {
  flushes_.add();
  ++epoch_;
  for (const auto& table : jump_tables_) table->clear();
  by_page_.clear();
  links_.clear();
  pending_link_.reset();
  translations_.clear();
  sites_.clear();
  fault_ranges_.clear();
  retry_.armed = false;
  cache_.truncate(routines_end_);
}

// --- What translated code calls; all guest registers are in memory then ---

// The instruction at `site` ended with `flow`.
u64 Translator::finish(const Site& site, Flow flow) {
  if (flow == Flow::kNext) {
    // The instruction may have been a serializing one, after which another processor's changes of code count.
    if (counted_ || (v_.hazards.load() & Hazards::kCodeChanged) == 0) return kGoOn;
    flow = Flow::kEndUnit;
  }
  context_.left += site.rest;
  // As Interpreter::run_unit().
  if ((flow == Flow::kFault && v_.fault.kind != x86::EventKind::kTrap) || flow == Flow::kRepeat) {
    if (counted_) context_.left += 1;
    v_.state.rip -= site.insn.length;
  } else if (const u8* const entry = go_on(flow); entry != nullptr) {
    return reinterpret_cast<u64>(entry);
  }
  context_.flow = flow;
  return kLeave;
}

// Between two units, as Interpreter::run() does it: the translated code at RIP, unless there is none yet or
// something needs the interpreter's attention first.
const u8* Translator::go_on(Flow flow) {
  if (flow == Flow::kEndUnit) {
    if (v_.hazards.load() != 0 || v_.state.activity != Activity::kRunning) return nullptr;
    interp_.refresh_mode();
    if (!interp_.mode_64() || interp_.must_step() || code_contexts_.exhausted()) return nullptr;
    v_.mmu.code_was_written = false;
    select_code_contexts(interp_.key());
  } else if (flow != Flow::kJump || (!counted_ && v_.hazards.load() != 0)) {
    return nullptr;
  }
  if (retry_.armed) access_again();
  const u8* const entry = jump_table_of(v_.state.rip).find(v_.state.rip);
  if (entry != nullptr) continued_.add();
  return entry;
}

// What translated code leaves for later: the x87 instruction pointer (SDM vol. 1 §8.1.8).
void Translator::catch_up(const Site& site) {
  if (site.fip_behind != 0) v_.state.xsave.fip() = site.next_rip - site.fip_behind;
}

// Translated code is about to run instructions that need these VectorBits: all that is to be loaded for them.
// What was loaded before stays so.
u64 Translator::open_needed_vectors(u32 needed) {
  const u32 open = open_vectors(v_.state);
  if ((needed & ~open) != 0) return 0;
  vector_loads_.add();
  const u32 wanted = needed | context_.reload;
  return ((wanted & kVectors) != 0 ? wanted | kVectors : wanted) & open;
}

u64 Translator::run_site(const Site& site) {
  catch_up(site);
  called_out_.add();
  called_out_by_[site.mnemonic].add();
  if (v_.trace.wants(TraceKind::kExits)) [[unlikely]]
    v_.trace.line("exits: callout for {} before {:x}",
                  ZydisMnemonicGetString(static_cast<ZydisMnemonic>(site.mnemonic)), site.next_rip);
  v_.state.rip = site.next_rip;
  v_.state.rflags = (v_.state.rflags & ~x86::rflags::kArithmetic) | unpack_flags(context_.flags);
  const Flow flow = site.insn.run(v_, site.insn);
  context_.flags = pack_flags(v_.state.rflags);
  if (context_.reload != 0) context_.reload &= open_vectors(v_.state);
  return finish(site, flow);
}

SlowAccess Translator::slow_access(const Site& site, u64 linear) {
  slow_accesses_.add();
  bool faulted;
  const auto seg = static_cast<x86::Seg>(site.seg);
  u8* const host = site.write ? v_.mmu.pointer_for_write(linear, site.size, seg, faulted)
                              : v_.mmu.pointer_for_read(linear, site.size, seg, faulted);
  if (host != nullptr) {
    v_.mmu.fill_front(linear);
    return {host, reinterpret_cast<u64>(v_.mmu.tracked(linear))};
  }
  if (faulted) {
    catch_up(site);
    v_.state.rip = site.next_rip;
    return {nullptr, finish(site, Flow::kFault)};
  }
  return {nullptr, run_site(site)};
}

// In the signal's handler, on the vCPU's thread, which is in translated code: nothing of the engine is in
// use.
bool Translator::take_host_fault(gregset_t& registers) {
  const auto pc = static_cast<u64>(registers[REG_RIP]);
  if (!cache_.contains(pc)) return false;
  const u32 at = cache_.offset_of(reinterpret_cast<const void*>(pc));
  auto range = std::upper_bound(fault_ranges_.begin(), fault_ranges_.end(), at,
                                [](u32 offset, const FaultRange& r) { return offset < r.end; });
  if (range == fault_ranges_.end() || at < range->begin) return false;
  const Site& site = *range->site;
  const u16 flags = pack_flags(static_cast<u64>(registers[REG_EFL]));
  context_.flags = static_cast<u16>((context_.flags & ~site.fresh) | (flags & site.fresh));
  const u64 base = site.base < 0 ? 0 : static_cast<u64>(registers[kSignalRegister[site.base]]);
  registers[REG_RAX] = reinterpret_cast<greg_t>(&site);
  registers[REG_R14] = static_cast<greg_t>(base + site.disp);
  registers[REG_RIP] = reinterpret_cast<greg_t>(routines_.host_fault);
  return true;
}

u64 Translator::host_fault(const Site& site, u64 linear) {
  if (site.poll) {
    v_.state.rip = site.next_rip - site.insn.length;
    context_.flow = Flow::kJump;
    return kLeave;
  }
  host_faults_.add();
  const u64 next = run_site(site);
  if (next == kLeave && context_.flow == Flow::kFault) {
    if (v_.fault.vector == x86::kPf) retry_ = {v_.state.rip, linear, true};
    // For the guest it is a page fault either way; a look-up is the cheaper way to it.
    if (options_.memory == Options::Memory::kAuto && faults_too_often(site)) give_up_flat(site, false);
    return kLeave;
  }
  if (!v_.mmu.fill_flat(linear)) {
    // The page's own code may be running: it ends like a unit that stored to itself.
    if (site.write && v_.mmu.forget_old_code(linear))
      return next == kGoOn ? finish(site, Flow::kEndUnit) : next;
    if (++site.futile == kFutileFaults) {
      if (spans_pages(site, linear))
        give_up_sharing(site);
      else
        give_up_flat(site, true);
    }
  } else if (options_.memory == Options::Memory::kAuto && faults_too_often(site)) {
    give_up_flat(site, false);
  }
  if (next != kGoOn) return next;
  // The operands behind it that share its slot find what the leader would find now.
  if (site.shared != 0)
    context_.shared[site.shared - 1u] = flat_->look_up(linear + static_cast<u64>(i64{site.shared_from}),
                                                       linear + static_cast<u64>(i64{site.shared_to}) - 1);
  return reinterpret_cast<u64>(site.resume);
}

// Whether the operands that share with the one at `site` are on two pages.
bool Translator::spans_pages(const Site& site, u64 linear) const {
  return site.shared != 0 && (linear + static_cast<u64>(i64{site.shared_from})) >> kPageShift !=
                                 (linear + static_cast<u64>(i64{site.shared_to}) - 1) >> kPageShift;
}

// A page fault's instruction is likely to run again now: its page is made ready, which saves a second fault
// of the host.
void Translator::access_again() {
  if (retry_.rip != v_.state.rip) return;
  retry_.armed = false;
  v_.mmu.fill_flat_ahead(retry_.linear);
  v_.mmu.fill_flat_around(retry_.linear);
}

// From now on both ways into `from` lead elsewhere.
void Translator::redirect(const Translation& from, const u8* linked, const u8* entered) {
  cache_.patch_jump(from.linked, linked);
  cache_.patch_jump(from.entered, entered);
  if (from.checked != nullptr) cache_.patch_jump(from.checked, linked);
  routines_.serialize();
}

// A fault that spares others: worth it, unless the operand goes from one new page to the next.
bool Translator::faults_too_often(const Site& site) const {
  const u32 now = host_ms();
  if (site.useful++ == 0) site.since_ms = now;
  if (site.useful < kBurst) return false;
  site.useful = 0;
  return now - site.since_ms < kBurstMs;
}

// The access at `site` keeps faulting (for good: a device's registers, data beside code, page crossings; else
// new pages): its unit is translated again with this operand looked up.
void Translator::give_up_flat(const Site& site, bool for_good) {
  given_up_.add();
  auto& t = *static_cast<Translation*>(site.translation);
  const u32 bit = u32{1} << site.position;
  t.no_flat |= bit;
  if (!for_good) {
    t.bursts |= bit;
    ++t.retries;
  }
  translate_again(t);
}

// The operands that share a slot with the one at `site` keep being on two pages: they share no more.
void Translator::give_up_sharing(const Site& site) {
  given_up_.add();
  auto& t = *static_cast<Translation*>(site.translation);
  t.no_share |= u32{1} << site.leader;
  translate_again(t);
}

void Translator::translate_again(Translation& t) {
  if (t.stale) return;
  t.stale = true;
  redirect(t, t.refuse, t.refuse);
}

u64 Translator::code_store(const Site& site, const u8* host) {
  v_.mmu.wrote_host(host, site.size);
  if (!v_.mmu.code_was_written) return kGoOn;
  catch_up(site);
  if (site.sets_fip) v_.state.xsave.fip() = site.next_rip - site.insn.length;
  v_.state.rip = site.after_is_target ? context_.target : site.next_rip + static_cast<u64>(i64{site.after});
  return finish(site, Flow::kEndUnit);
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
