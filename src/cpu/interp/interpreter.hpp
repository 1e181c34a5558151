// The reference engine: straightforward, complete, and the oracle for the others. It executes units of
// decoded instructions one handler call an instruction; everything privileged is cpu/system's, shared by all
// software engines.
#pragma once

#include "cpu/engine.hpp"
#include "cpu/interp/unit.hpp"
#include "cpu/system/segments.hpp"
#include "cpu/system/vcpu.hpp"

namespace vellum::interp {

/// A faster way to run units of 64-bit code, and of 32-bit code with flat segments (is_flat_32()), put in the
/// place of the handlers' loop by an engine that builds on this one.
class UnitRunner {
 public:
  virtual ~UnitRunner() = default;
  /// As Interpreter::run_unit(), but may go on from unit to unit while nothing needs the engine's attention:
  /// no hazard, no change of mode, privilege or mapping. RIP stands at `unit`; `key` is its look-up's.
  virtual Flow run(const Unit& unit, u32 key, u64 limit, u64& done) = 0;
  /// Hazards::kCodeChanged was set, and has just been cleared.
  virtual void code_changed() = 0;
};

class Interpreter final : public Engine {
 public:
  /// The referenced objects must outlive the engine. The vCPU starts as reset_state(index == 0).
  Interpreter(unsigned index, AddressSpace& space, VcpuBoard& board, Clock& clock, const x86::CpuModel& model,
              Hazards& hazards);

  Exit run(Budget budget) override;
  void pull(StateMask groups, VcpuState& to) override;
  void push(StateMask groups, const VcpuState& from) override;
  void invalidate(GuestPhysRange range) override;
  u64 retired() const override { return retired_.get(); }
  u64 steps() const override { return retired_.get() + delivered_.get(); }
  void stats(std::vector<StatRow>& rows) const override;

  /// The context, for monitors and tests. Only while run() is not running.
  Vcpu& vcpu() { return v_; }

  /// `runner` outlives this. `unit`: the most instructions of a unit. `counts`: it says exactly how many
  /// instructions retired; else retired() leaves some out, and run() must be given all the budget there is.
  void set_runner(UnitRunner& runner, unsigned unit, bool counts) {
    runner_ = &runner;
    counts_ = counts;
    units_.set_max_instructions(unit);
  }
  /// Runs at most `limit` instructions of `unit`; adds to `done` those that retired.
  static Flow run_unit(Vcpu& v, const Unit& unit, u64 limit, u64& done);

  // For a runner that goes on after an instruction that ended with Flow::kEndUnit.
  /// Recomputes what look-ups of code need from CS, CR0, EFER and CPL.
  void refresh_mode();
  bool mode_64() const { return mode_64_; }
  /// Whether a UnitRunner may run what comes next.
  bool runs_fast() const { return mode_64_ || is_flat_32(v_.state); }
  u32 key() const { return key_; }
  /// Whether instructions must run one at a time with checks around each (single-step, breakpoints, shadows).
  /// If not, at least one runs next: RF is cleared then, as nothing looks at it.
  bool must_step();

 private:
  /// `left`: steps that may still be taken; no event is delivered with none left.
  std::optional<Exit> take_hazards(u64& left);
  std::optional<Exit> deliver(const x86::Exception& e, u64& left);
  /// Runs one instruction with everything that single-stepping and breakpoints ask for.
  std::optional<Exit> step(const Unit& unit, u64& done, u64& left);
  /// v_.fault is the #MF of a processor whose CR0.NE is clear: no exception, but FERR#. Returns how the
  /// instruction ended when IGNNE# lets it run (`done` as in run_unit()); otherwise the vCPU waits before it.
  std::optional<Flow> x87_error(u64& done);
  bool is_x87_error() const { return v_.fault.vector == x86::kMf && (v_.state.cr0 & x86::cr0::kNe) == 0; }
  std::optional<Exit> code_limit_fault(const Unit& unit, u64& limit, u64& left);

  Vcpu v_;
  UnitCache units_;
  UnitRunner* runner_ = nullptr;
  x86::CodeMode mode_ = x86::CodeMode::kReal16;
  u32 key_ = 0;
  bool mode_64_ = false;
  bool counts_ = true;
  bool user_seen_ = false;
  u64 code_base_ = 0;

  Counter retired_;
  Counter delivered_;                  ///< events that were a step of their own
  Counter user_entries_, user_at_ns_;  ///< whether and when CPL 3 was first entered, guest time
  Counter units_run_, stepped_, halts_, interrupts_;
  std::array<Counter, 32> exceptions_;
};

}  // namespace vellum::interp
