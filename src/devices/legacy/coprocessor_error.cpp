#include "devices/legacy/coprocessor_error.hpp"

namespace vellum {

CoprocessorError::CoprocessorError(InterruptLine& irq, const State& state) : irq_(irq), state_(state) {
  irq_.set(state_.request);
}

bool CoprocessorError::drive_ferr(bool asserted) {
  std::scoped_lock lock(mutex_);
  if (asserted && !state_.ferr) {
    state_.request = true;
    irq_.set(true);
  }
  if (!asserted) state_.ignne = false;
  state_.ferr = asserted;
  return state_.ignne;
}

void CoprocessorError::write_byte(u64, u8) {
  std::scoped_lock lock(mutex_);
  state_.request = false;
  state_.ignne = state_.ferr;
  irq_.set(false);
}

SavedState CoprocessorError::save() const {
  std::scoped_lock lock(mutex_);
  return encode_state(state_);
}

}  // namespace vellum
