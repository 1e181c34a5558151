#include "cpu/bt/translator.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/assert.hpp"
#include "base/barrier.hpp"
#include "cpu/bt/gs_base.hpp"

namespace vellum::bt {

using interp::Flow;

namespace {

constexpr std::size_t kRoutinesBytes = 64 << 10;

}  // namespace

Translator::Translator(unsigned index, AddressSpace& space, VcpuBoard& board, Clock& clock,
                       const x86::CpuModel& model, Hazards& hazards, const Options& options,
                       std::shared_ptr<TranslationCache> cache)
    : options_(options),
      block_(index, space, board, clock, model, hazards),
      interp_(block_.interpreter()),
      v_(interp_.vcpu()),
      context_(block_.context()),
      cache_(cache != nullptr ? std::move(cache)
                              : std::make_shared<TranslationCache>(options, false, index == 0)),
      routines_code_(kRoutinesBytes),
      counted_(options.count == Options::Count::kOn ||
               (options.count == Options::Count::kAuto && clock.is_virtual())),
      called_out_by_(new Counter[ZYDIS_MNEMONIC_MAX_VALUE + 1]) {
  context_.owner = this;
  context_.hazards = hazards.address();
  context_.return_bottom = returns_.bottom();
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
  if (options_.memory != Options::Memory::kHashed && !cache_->all_looked_up()) open_flat_tables();
  if (flat_ == nullptr && index == 0) cache_->look_all_up();
  if (cache_->shared() && !can_share(clock))
    cache_ = std::make_shared<TranslationCache>(options, false, false);
  routines_ = emit_routines(routines_code_, context_, distances_, callbacks);
  {
    const std::lock_guard lock(cache_->mutex());
    cache_->perf_map().add(routines_code_.begin(), routines_code_.used(), "bt:routines");
  }
  v_.mmu.attach_front(context_.tlb);
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

// Hot code needs flat tables, of which the host may have had room for some vCPUs' only. Code that counts is
// not laid out to be patched while another thread runs it.
bool Translator::can_share(const Clock& clock) const {
  return (flat_ != nullptr || cache_->all_looked_up()) && (!counted_ || clock.is_virtual());
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
    context_.jump_table[half].store(selected_[half], std::memory_order_relaxed);
  context_.poll.store(&context_, std::memory_order_relaxed);
  // Whoever kicks has set a bit before: either it is seen here, or these stores come before the kick's.
  store_load_barrier();
  const u32 pending = counted_ ? 0 : v_.hazards.load_seq_cst();
  if (pending == 0 || (pending == Hazards::kInterrupt && (v_.state.rflags & x86::rflags::kIf) == 0)) return;
  kick();
}

// A vCPU that rests keeps no old era alive.
Exit Translator::run(Budget budget) {
  set_gs_base(&context_);
  const HostFaultScope scope(*this);
  era_ = rested_.lock();
  if (era_ == nullptr) enter_era();
  Exit why = interp_.run(budget);
  rested_ = era_;
  era_.reset();
  return why;
}

// The cache has been emptied, perhaps by another vCPU: what this one knew of where code is, is no more.
void Translator::enter_era() {
  forget_places();
  era_.reset();  // if this is the last to leave it: not under the lock
  const std::lock_guard lock(cache_->mutex());
  era_ = cache_->era();
}

void Translator::forget_places() {
  for (const KnownJumps& known : jump_tables_) known.table->clear();
  context_.gates = {};
  std::fill_n(context_.far_serials.begin(), far_links_, 0u);
  far_links_ = 0;
  pending_link_.reset();
  retry_.armed = false;
}

// RAM was changed behind the engines' backs: nobody's translations hold.
void Translator::invalidate(GuestPhysRange range) {
  interp_.invalidate(range);
  std::shared_ptr<Era> old;  // outlives the lock
  const std::lock_guard lock(cache_->mutex());
  old = cache_->era();
  cache_->flush();
}

Flow Translator::run(const interp::Unit& unit, u32 key, u64 limit, u64& done) {
  if (!cache_->is_current(*era_)) enter_era();
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
    forget_places();
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
  if (pending && linkable) {
    const std::lock_guard lock(cache_->mutex());
    VELLUM_ASSERT(*pending < era_->links.size(), "link {} of {}", *pending, era_->links.size());
    const Link& from = era_->links[*pending];
    // A jump within a page says nothing of the next one's mapping.
    if (from.target == linear && (!unit.crosses() || from.far != Link::kNear)) link(*pending, *t);
  }

  if (context_.poll.load(std::memory_order_relaxed) == nullptr) arm();
  const i64 left = static_cast<i64>(std::min(limit, u64{std::numeric_limits<i64>::max()}));
  context_.left = left;
  context_.flags = pack_flags(v_.state.rflags);
  entries_.add();
  forget_returns();
  // SAFETY: code that this engine emitted; the GS base is the Context (run()).
  const auto why = static_cast<Leave>(routines_.enter(t->entered));
  adopt_privilege();
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
  const std::lock_guard lock(cache_->mutex());
  for (const CodePage* page : changed) {
    const auto of_page = era_->by_page.find(page);
    if (of_page != era_->by_page.end()) refuse_outdated(of_page->second);
  }
  routines_.serialize();  // another vCPU may have done it all
}

void Translator::refuse_outdated(std::span<Translation* const> of_page) {
  for (Translation* t : of_page)
    if (!t->stale && !t->valid()) refuse(*t);
}

void Translator::refuse(Translation& t) {
  t.stale = true;
  redirect(t, t.refuse, t.refuse);
}

// From now on both ways into `from` lead elsewhere.
void Translator::redirect(const Translation& from, const u8* linked, const u8* entered) {
  VELLUM_ASSERT(counted_ || !cache_->shared() ||
                    (reinterpret_cast<u64>(from.linked) | reinterpret_cast<u64>(from.entered) |
                     reinterpret_cast<u64>(from.checked)) %
                            8 ==
                        0,
                "entries at {}, {}, {}", fmt::ptr(from.linked), fmt::ptr(from.entered),
                fmt::ptr(from.checked));
  era_->code.patch_jump(from.linked, linked);
  era_->code.patch_jump(from.entered, entered);
  if (from.checked != nullptr) era_->code.patch_jump(from.checked, linked);
  routines_.serialize();
}

void Translator::stats(std::vector<StatRow>& rows) const {
  interp_.stats(rows);
  const std::string name = "bt" + std::to_string(v_.index);
  rows.push_back({name, "units translated", translated_units_.get(), 0});
  rows.push_back({name, "hot units translated", hot_units_.get(), 0});
  rows.push_back({name, "instructions translated", translated_instructions_.get(), 0});
  rows.push_back({name, "units not translatable", refused_.get(), 0});
  if (cache_->shared()) rows.push_back({name, "units taken from other vCPUs", taken_units_.get(), 0});
  if (!cache_->shared() || v_.index == 0) {
    rows.push_back({name, "bytes of translated code", cache_->bytes_used(), 0});
    rows.push_back({name, "cache flushes", cache_->flushes(), 0});
  }
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
