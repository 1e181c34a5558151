#include "cpu/interp/interpreter.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "cpu/groups.hpp"
#include "cpu/mmu/breakpoints.hpp"
#include "cpu/system/control.hpp"
#include "cpu/system/events.hpp"

namespace vellum::interp {
namespace {

// DR6's B0-B3 for the instruction at `linear` (SDM vol. 3B §17.3.1.1).
u32 instruction_breakpoints(const VcpuState& s, u64 linear) {
  u32 hits = 0;
  for (unsigned n = 0; n < 4; ++n) {
    if (breakpoint_enabled(s.dr7, n) && breakpoint_kind(s.dr7, n) == BreakpointKind::kExecute &&
        s.dr[n] == linear)
      hits |= 1u << n;
  }
  return hits;
}

}  // namespace

Interpreter::Interpreter(unsigned index, AddressSpace& space, VcpuBoard& board, Clock& clock,
                         const x86::CpuModel& model, Hazards& hazards)
    : v_(index, space, board, clock, model, hazards), units_(v_) {
  const auto offset = reinterpret_cast<const u8*>(&v_.zero) - reinterpret_cast<const u8*>(&v_);
  VELLUM_ASSERT(offset == zero_offset(), "Vcpu::zero is at {}, expected at {}", offset, zero_offset());
  VELLUM_ASSERT(static_cast<void*>(&v_) == static_cast<void*>(&v_.state), "Vcpu::state is not first");
  v_.state = reset_state(index == 0, model.signature());
  resync(v_);
}

void Interpreter::refresh_mode() {
  const VcpuState& s = v_.state;
  const x86::Segment& cs = s.segment(x86::Seg::kCs);
  mode_64_ = s.mode_64();
  if (mode_64_)
    mode_ = x86::CodeMode::kLong64;
  else if (s.real_mode() || s.virtual_8086())
    mode_ = x86::CodeMode::kReal16;
  else
    mode_ = cs.big() ? x86::CodeMode::kProtected32 : x86::CodeMode::kProtected16;
  code_base_ = mode_64_ ? 0 : cs.base;
  key_ = (static_cast<u32>(mode_) << 2) | s.cpl;
  if (s.cpl == 3 && !user_seen_) [[unlikely]] {
    user_seen_ = true;
    user_entries_.add();
    user_at_ns_.add(v_.clock.now_ns());
  }
}

bool Interpreter::must_step() {
  VcpuState& s = v_.state;
  if ((s.rflags & x86::rflags::kTf) != 0 || s.shadow_sti || s.shadow_mov_ss ||
      (s.dr7 & x86::dr7::kEnableMask) != 0)
    return true;
  // Only instruction breakpoints ask for RF, and a fault pushes it set anyway (SDM vol. 3B §17.3.1.1).
  s.rflags &= ~x86::rflags::kRf;
  return false;
}

std::optional<Exit> Interpreter::take_hazards(u64& left) {
  const u32 pending = v_.hazards.load();
  if ((pending & Hazards::kStop) != 0) return exit::Interrupted{};
  if ((pending & Hazards::kTlbFlush) != 0) {
    v_.hazards.clear(Hazards::kTlbFlush);
    v_.mmu.flush_all();
  }
  if ((pending & Hazards::kCodeChanged) != 0) {
    v_.hazards.clear(Hazards::kCodeChanged);
    if (runner_ != nullptr) runner_->code_changed();
  }
  // By far the most frequent: an interrupt waits for IF.
  if (pending == Hazards::kInterrupt && (v_.state.rflags & x86::rflags::kIf) == 0) return std::nullopt;
  if (left != 0 && event_deliverable(v_)) {
    interrupts_.add();
    delivered_.add();
    --left;
    if (auto reason = deliver_pending(v_)) return exit::Shutdown{std::move(*reason)};
    refresh_mode();
  }
  return std::nullopt;
}

std::optional<Exit> Interpreter::deliver(const x86::Exception& e, u64& left) {
  exceptions_[e.vector & 31].add();
  // A trap's instruction has retired and was counted.
  if (e.kind != x86::EventKind::kTrap) {
    delivered_.add();
    --left;
  }
  auto reason = deliver_event(v_, e);
  refresh_mode();
  if (reason) return exit::Shutdown{std::move(*reason)};
  return std::nullopt;
}

Flow Interpreter::run_unit(Vcpu& v, const Unit& unit, u64 limit, u64& done) {
  const Insn* const first = unit.insns().data();
  const Insn* const end = first + std::min<u64>(unit.count, limit);
  const Insn* i = first;
  Flow flow;
  do {
    v.state.rip += i->length;
    flow = i->run(v, *i);
    ++i;
  } while (flow == Flow::kNext && i != end);
  // A trap (a task switch's T bit) comes after its instruction; all else leaves RIP at it, to be run again.
  if ((flow == Flow::kFault && v.fault.kind != x86::EventKind::kTrap) || flow == Flow::kRepeat) [[unlikely]] {
    --i;
    v.state.rip -= i->length;
  }
  done += static_cast<u64>(i - first);
  return flow;
}

// Outside 64-bit mode no instruction byte may lie beyond CS's limit. A unit that would reach there runs only
// as far as it may; #GP(0) if not even its first instruction does. (RIP is within 32 bits there.)
std::optional<Exit> Interpreter::code_limit_fault(const Unit& unit, u64& limit, u64& left) {
  const u64 last_valid = v_.state.segment(x86::Seg::kCs).limit;
  u64 end = v_.state.rip;
  u64 allowed = 0;
  while (allowed < unit.count && end + unit.insns()[allowed].length - 1 <= last_valid)
    end += unit.insns()[allowed++].length;
  limit = std::min(limit, allowed);
  if (allowed == 0) return deliver({.vector = x86::kGp, .has_error_code = true}, left);
  return std::nullopt;
}

std::optional<Exit> Interpreter::step(const Unit& unit, u64& done, u64& left) {
  VcpuState& s = v_.state;
  stepped_.add();
  const bool shadowed_ss = s.shadow_mov_ss;
  // Instruction breakpoints come before the instruction (a fault), unless RF or a MOV SS shadow holds them
  // off.
  if ((s.rflags & x86::rflags::kRf) == 0 && !shadowed_ss) {
    if (const u32 hits = instruction_breakpoints(s, code_base_ + s.rip); hits != 0)
      return deliver({.vector = x86::kDb, .kind = x86::EventKind::kFault, .address = hits}, left);
  }
  const bool trap = (s.rflags & x86::rflags::kTf) != 0;
  s.shadow_sti = false;
  s.shadow_mov_ss = false;
  v_.mmu.breakpoint_hits = 0;
  v_.entered_handler = false;
  const u64 rf_before = s.rflags & x86::rflags::kRf;
  s.rflags &= ~x86::rflags::kRf;  // an instruction that sets RF (IRET) does so after this
  const u64 done_before = done;
  Flow flow = run_unit(v_, unit, 1, done);
  if (flow == Flow::kFault && is_x87_error()) [[unlikely]] {
    const auto ignored = x87_error(done);
    if (!ignored) {
      s.rflags |= rf_before;
      return std::nullopt;
    }
    flow = *ignored;
  }
  if (flow == Flow::kFault) {
    s.rflags |= rf_before;
    return deliver(v_.fault, left);
  }
  if (flow == Flow::kEndUnit) refresh_mode();
  if (flow == Flow::kRepeat && !trap) s.rflags |= x86::rflags::kRf;
  VELLUM_ASSERT(done - done_before <= 1, "a step retired {}", done - done_before);
  u64 dr6_bits = v_.mmu.breakpoint_hits;
  v_.mmu.breakpoint_hits = 0;
  if (trap && !v_.entered_handler && s.activity != Activity::kShutdown) dr6_bits |= x86::dr6::kBs;
  // After MOV SS debug traps wait for the next instruction, and a TF trap is lost.
  if (s.shadow_mov_ss) dr6_bits = 0;
  if (dr6_bits != 0) {
    s.activity = Activity::kRunning;
    return deliver({.vector = x86::kDb, .kind = x86::EventKind::kTrap, .address = dr6_bits}, left);
  }
  return std::nullopt;
}

Exit Interpreter::run(Budget budget) {
  u64 left = budget.steps;
  refresh_mode();
  for (;;) {
    if (v_.hazards.load() != 0) [[unlikely]] {
      if (auto e = take_hazards(left)) return std::move(*e);
    }
    if (v_.state.activity != Activity::kRunning) [[unlikely]] {
      // Whatever an activity state waits for comes as a hazard, which take_hazards() has looked at.
      halts_.add();
      return exit::Halted{};
    }
    if (left == 0) return exit::BudgetSpent{};
    if (!mode_64_) v_.state.rip &= 0xffffffff;
    const u64 sum = code_base_ + v_.state.rip;
    const u64 linear = mode_64_ ? sum : static_cast<u32>(sum);
    const Unit* unit = units_.find(linear, mode_, key_);
    if (unit == nullptr) [[unlikely]] {
      if (auto e = deliver(v_.fault, left)) return std::move(*e);
      continue;
    }
    u64 limit = left;
    u64 done = 0;
    if (!mode_64_) [[unlikely]] {
      const u64 last = v_.state.rip + unit->bytes - 1;
      const u32 last_valid = v_.state.segment(x86::Seg::kCs).limit;
      // Nothing lies beyond 4 GiB: what runs over the end goes on at 0 (docs/fidelity.md).
      if (last > last_valid && last_valid != 0xffff'ffff) {
        if (auto e = code_limit_fault(*unit, limit, left)) return std::move(*e);
        if (limit == 0) continue;
      }
    }
    v_.mmu.code_was_written = false;
    std::optional<Exit> e;
    if (must_step()) [[unlikely]] {
      e = step(*unit, done, left);
    } else {
      Flow flow = runner_ != nullptr && runs_fast() ? runner_->run(*unit, key_, limit, done)
                                                    : run_unit(v_, *unit, limit, done);
      units_run_.add();
      if (flow == Flow::kFault && is_x87_error()) [[unlikely]]
        flow = x87_error(done).value_or(Flow::kEndUnit);
      if (flow == Flow::kEndUnit) refresh_mode();
      // What interrupts a repeated instruction pushes RF set, so that a breakpoint on it does not hit once
      // more.
      else if (flow == Flow::kRepeat)
        v_.state.rflags |= x86::rflags::kRf;
      else if (flow == Flow::kFault) [[unlikely]]
        e = deliver(v_.fault, left);
    }
    left -= done;
    retired_.add(done);
    if (e) return std::move(*e);
  }
}

void Interpreter::pull(StateMask groups, VcpuState& to) {
  copy_groups(groups, v_.state, to);
}

void Interpreter::push(StateMask groups, const VcpuState& from) {
  copy_groups(groups, from, v_.state);
  resync(v_);
}

void Interpreter::invalidate(GuestPhysRange range) {
  for (u64 a = range.start.page_base().value; a < range.end().value; a += kPageSize) {
    if (v_.space.ram.host(GuestPhys(a)) != nullptr)
      v_.space.ram.code_page(GuestPhys(a)).generation.fetch_add(1, std::memory_order_release);
  }
  v_.mmu.flush_all();
}

void Interpreter::stats(std::vector<StatRow>& rows) const {
  const std::string vcpu = "vcpu" + std::to_string(v_.index);
  if (counts_) rows.push_back({vcpu, "instructions retired", retired_.get(), 0});
  rows.push_back({vcpu, "units run", units_run_.get(), 0});
  rows.push_back({vcpu, "instructions stepped", stepped_.get(), 0});
  rows.push_back({vcpu, "halts", halts_.get(), 0});
  rows.push_back({vcpu, "interrupts delivered", interrupts_.get(), 0});
  for (unsigned n = 0; n < exceptions_.size(); ++n) {
    if (exceptions_[n].get() != 0)
      rows.push_back({vcpu, fmt::format("exception {} ({})", n, x86::vector_name(static_cast<u8>(n))),
                      exceptions_[n].get(), 0});
  }
  const auto& m = v_.mmu.stats;
  rows.push_back({vcpu, "MMU slow reads", m.slow_reads.get(), 0});
  rows.push_back({vcpu, "MMU slow writes", m.slow_writes.get(), 0});
  rows.push_back({vcpu, "page walks", m.walks.get(), 0});
  rows.push_back({vcpu, "page faults", m.page_faults.get(), 0});
  rows.push_back({vcpu, "MMIO reads", m.mmio_reads.get(), 0});
  rows.push_back({vcpu, "MMIO writes", m.mmio_writes.get(), 0});
  rows.push_back({vcpu, "TLB flushes", m.flushes.get(), 0});
  rows.push_back({vcpu, "TLB page flushes", m.page_flushes.get(), 0});
  rows.push_back({vcpu, "stores to code", m.code_stores.get(), 0});
  if (user_entries_.get() != 0)
    rows.push_back({vcpu, "first at CPL 3, at this guest time", user_entries_.get(), user_at_ns_.get()});
  v_.unknown_msrs.stats(vcpu, rows);
  units_.stats(rows);
}

}  // namespace vellum::interp
