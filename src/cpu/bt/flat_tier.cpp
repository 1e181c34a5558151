// Which units and operands go through flat tables, as their faults teach (docs/design/flat-table.md).
#include <algorithm>
#include <ctime>

#include "base/log.hpp"
#include "cpu/bt/translator.hpp"

namespace vellum::bt {

using interp::Flow;

namespace {

u32 host_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<u32>(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
}

constexpr unsigned kFlatTables = 8;  // a vCPU: 32 GiB of address space each
constexpr u8 kFutileFaults = 3;
// So many faults of one operand in so short a time are a burst: with its signal and the host's own page
// faults one costs 2 to 30 us, a look-up 3 ns.
constexpr u8 kBurst = 8;
constexpr u32 kBurstMs = 4;
// So many faults that took another page's place, in whatever time: pages of one index take turns.
constexpr u8 kMostTurns = 8;
// After a burst an operand is looked up for so many runs of its unit, twice as many each time.
constexpr i32 kRunsAfterBurst = 1 << 14;
constexpr u8 kMostDoublings = 14;

// Where the kernel keeps host register n (hardware number) for a signal's handler.
constexpr std::array<int, 16> kSignalRegister = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                                 REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                                 REG_R12, REG_R13, REG_R14, REG_R15};

// Other vCPUs may do so, too: some counts are lost then.
u8 count_up(u8& n) {
  const std::atomic_ref count(n);
  const auto next = static_cast<u8>(count.load(std::memory_order_relaxed) + 1);
  count.store(next, std::memory_order_relaxed);
  return next;
}

}  // namespace

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

// How `t`, of `unit`, is to be translated, from what became of the same code before. The cache's lock is
// held.
void Translator::plan(const interp::Unit& unit, Translation& t) const {
  if (!t.wide) return;  // addresses of 32-bit code are looked up
  Translation* before = nullptr;
  for (Translation* p : era_->starting_at(unit.page, t.linear))
    if (p->linear == t.linear && p->wide && p->page == unit.page && p->generation == unit.generation &&
        p->second == unit.second)
      before = p;
  const bool adaptive = flat_ != nullptr && options_.memory == Options::Memory::kAuto;
  t.hot = flat_ != nullptr && (!adaptive || options_.hot == 0);
  if (before != nullptr) {
    const bool again = before->worn_out();
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

// In the signal's handler, on the vCPU's thread, which is in translated code: nothing of the engine is in
// use.
bool Translator::take_host_fault(gregset_t& registers) {
  const auto pc = static_cast<u64>(registers[REG_RIP]);
  if (era_ == nullptr || !era_->code.contains(pc)) return false;
  const Site* const found = era_->faults.find(era_->code.offset_of(reinterpret_cast<const void*>(pc)));
  if (found == nullptr) {
    // A CALL, of which there are enough: the oldest are forgotten with all others.
    if (!returns_.full_at(static_cast<u64>(registers[REG_RSP]))) return false;
    registers[REG_RSP] = static_cast<greg_t>(returns_.bottom());
    return true;
  }
  const Site& site = *found;
  const u16 flags = pack_flags(static_cast<u64>(registers[REG_EFL]));
  context_.flags = static_cast<u16>((context_.flags & ~site.fresh) | (flags & site.fresh));
  const u64 base = site.base < 0 ? 0 : static_cast<u64>(registers[kSignalRegister[site.base]]);
  registers[REG_RAX] = reinterpret_cast<greg_t>(&site);
  registers[REG_R14] = static_cast<greg_t>(base + site.disp);
  registers[REG_RIP] = reinterpret_cast<greg_t>(routines_.host_fault);
  return true;
}

u64 Translator::host_fault(const Site& site, u64 linear) {
  come_from_code();
  if (site.poll) {
    v_.state.rip = site.next_rip - site.insn->length;
    context_.flow = Flow::kJump;
    by_handlers_ = true;  // what pends may not be deliverable, and the poll be the unit's first
    return kLeave;
  }
  VELLUM_ASSERT(flat_ != nullptr, "a fault at {:x} without flat tables", linear);
  host_faults_.add();
  const u64 next = run_site(site);
  if (next == kLeave && context_.flow == Flow::kFault) {
    if (v_.fault.vector == x86::kPf) retry_ = {v_.state.rip, linear, true};
    // For the guest it is a page fault either way; a look-up is the cheaper way to it.
    if (options_.memory == Options::Memory::kAuto && faults_too_often(site)) give_up_flat(site, false);
    return kLeave;
  }
  const u64 displaced = flat_->displaced();
  if (!v_.mmu.fill_flat(linear)) {
    // The page's own code may be running: it ends like a unit that stored to itself.
    if (site.write && v_.mmu.forget_old_code(linear))
      return next == kGoOn ? finish(site, Flow::kEndUnit) : next;
    if (count_up(site.futile) == kFutileFaults) {
      if (spans_pages(site, linear))
        give_up_sharing(site);
      else
        give_up_flat(site, true);
    }
  } else if (flat_->displaced() != displaced && count_up(site.displacing) == kMostTurns) {
    give_up_flat(site, options_.memory != Options::Memory::kAuto);
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

// A fault that spares others: worth it, unless the operand goes from one new page to the next.
bool Translator::faults_too_often(const Site& site) const {
  const u32 now = host_ms();
  // Each vCPU's table is to be filled: one fault of each is no burst.
  const std::atomic_ref by(site.useful_by), count(site.useful);
  const auto index = static_cast<u8>(v_.index);
  if (by.exchange(index, std::memory_order_relaxed) != index) count.store(0, std::memory_order_relaxed);
  const std::atomic_ref since(site.since_ms);
  const u8 faults = count_up(site.useful);
  if (faults == 1) since.store(now, std::memory_order_relaxed);
  if (faults < kBurst) return false;
  count.store(0, std::memory_order_relaxed);
  return now - since.load(std::memory_order_relaxed) < kBurstMs;
}

// The access at `site` keeps faulting (for good: a device's registers, data beside code, page crossings; else
// new pages): its unit is translated again with this operand looked up.
void Translator::give_up_flat(const Site& site, bool for_good) {
  given_up_.add();
  const std::lock_guard lock(cache_->mutex());
  auto& t = *static_cast<Translation*>(site.translation);
  if (t.stale) return;  // another vCPU was first
  const u32 bit = u32{1} << site.position;
  t.no_flat |= bit;
  if (!for_good) {
    t.bursts |= bit;
    ++t.retries;
  }
  refuse(t);
}

// The operands that share a slot with the one at `site` keep being on two pages: they share no more.
void Translator::give_up_sharing(const Site& site) {
  given_up_.add();
  const std::lock_guard lock(cache_->mutex());
  auto& t = *static_cast<Translation*>(site.translation);
  if (t.stale) return;
  t.no_share |= u32{1} << site.leader;
  refuse(t);
}

}  // namespace vellum::bt
