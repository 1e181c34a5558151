#include "devices/legacy/misc_ports.hpp"

namespace vellum {

SavedState PostCode::save() const {
  State state;
  state.code = code();
  return encode_state(state);
}

void ResetPort::write_byte(u64, u8 value) {
  constexpr u8 kSystemReset = 0x02, kResetCpu = 0x04, kFullReset = 0x08;
  const u8 old = value_.exchange(value & (kSystemReset | kResetCpu | kFullReset), std::memory_order_relaxed);
  if ((old & kResetCpu) == 0 && (value & kResetCpu) != 0) control_.reset();
}

SavedState ResetPort::save() const {
  State state;
  state.value = value_.load(std::memory_order_relaxed);
  return encode_state(state);
}

void SystemControlA::write_byte(u64, u8 value) {
  constexpr u8 kFastReset = 0x01, kA20 = 0x02;
  const u8 old = value_.exchange(value & (kFastReset | kA20), std::memory_order_relaxed);
  if ((old & kFastReset) == 0 && (value & kFastReset) != 0) control_.reset();
}

SavedState SystemControlA::save() const {
  State state;
  state.value = value_.load(std::memory_order_relaxed);
  return encode_state(state);
}

}  // namespace vellum
