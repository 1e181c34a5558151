// x87 errors while CR0.NE is clear (SDM vol. 1 §8.7.2 and appendix D): what would be #MF goes out as FERR#.
// The processor then waits, before the instruction that met the error, for an interrupt; with IGNNE# asserted
// it runs the instruction as if there were no error, which stays pending.
#include "cpu/interp/interpreter.hpp"
#include "cpu/interp/native/x87.hpp"

namespace vellum::interp {

std::optional<Flow> Interpreter::x87_error(u64& done) {
  VcpuState& s = v_.state;
  if (!v_.board.drive_ferr(true)) {
    s.activity = Activity::kHalted;
    return std::nullopt;
  }
  // The exception flags, SF, ES and B are put aside, so that the instruction finds none; they are sticky.
  constexpr u16 kSticky = 0x7f, kError = 0x80ff;
  const u16 before = s.xsave.fsw();
  s.xsave.fsw() = static_cast<u16>(before & ~kError);
  v_.x87_status_loaded = false;
  refresh_mode();
  const u64 sum = code_base_ + s.rip;
  const Unit* const unit = units_.find(mode_64_ ? sum : static_cast<u32>(sum), mode_, key_);
  const Flow flow = unit == nullptr ? Flow::kFault : run_unit(v_, *unit, 1, done);
  if (!v_.x87_status_loaded) {
    s.xsave.fsw() |= before & kSticky;
    native::recompute_pending(s.xsave);
  }
  native::settle_ferr(v_);
  return flow;
}

}  // namespace vellum::interp
