// The judge: instruction bytes run directly on the host, between a load and a save of the whole register
// state. Shares no code with the thunks.
#pragma once

#include <array>
#include <span>

#include "base/int.hpp"

namespace vellum::test {

struct alignas(64) HostState {
  std::array<u8, 512> fx{};  ///< FXSAVE64's image
  std::array<std::array<u8, 32>, 16> ymm{};
  std::array<u64, 16> gpr{};  ///< RSP is not loaded
  u64 rflags = 2;

  u16& fcw() { return *reinterpret_cast<u16*>(fx.data()); }
  u16& fsw() { return *reinterpret_cast<u16*>(fx.data() + 2); }
  u8& ftw() { return fx[4]; }
  u32& mxcsr() { return *reinterpret_cast<u32*>(fx.data() + 24); }
  u8* st(unsigned n) { return fx.data() + 32 + 16 * n; }
};

enum class HostOutcome { kDone, kFloatException, kGeneralProtection };

/// Runs the bytes (64-bit code, any registers but RSP). On an exception the state is as before but for MXCSR,
/// which is what the processor left.
HostOutcome run_on_host(std::span<const u8> bytes, HostState& state);

}  // namespace vellum::test
