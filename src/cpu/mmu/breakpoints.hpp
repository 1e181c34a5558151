// Data breakpoints: DR0-DR3 under DR7 (SDM vol. 3B §17.2).
#pragma once

#include <array>

#include "base/bits.hpp"

namespace vellum {

/// DR7's R/W field of a breakpoint.
enum class BreakpointKind : u8 { kExecute = 0, kWrite = 1, kIo = 2, kReadWrite = 3 };

constexpr bool breakpoint_enabled(u64 dr7, unsigned n) {
  return bits(dr7, 2 * n + 1, 2 * n) != 0;
}
constexpr BreakpointKind breakpoint_kind(u64 dr7, unsigned n) {
  return static_cast<BreakpointKind>(bits(dr7, 17 + 4 * n, 16 + 4 * n));
}
/// Bytes that a breakpoint covers, from its address rounded down to a multiple of them.
constexpr u64 breakpoint_length(u64 dr7, unsigned n) {
  constexpr std::array<u64, 4> kLengths{1, 2, 8, 4};
  return kLengths[bits(dr7, 19 + 4 * n, 18 + 4 * n)];
}

/// Whether any enabled breakpoint watches data.
constexpr bool watches_data(u64 dr7) {
  for (unsigned n = 0; n < 4; ++n) {
    const BreakpointKind kind = breakpoint_kind(dr7, n);
    if (breakpoint_enabled(dr7, n) && (kind == BreakpointKind::kWrite || kind == BreakpointKind::kReadWrite))
      return true;
  }
  return false;
}

/// DR6's B0-B3 for an access to data: a breakpoint matches if any byte of the access is one of its own.
constexpr u32 match_data_breakpoints(const std::array<u64, 4>& dr, u64 dr7, u64 address, u64 size,
                                     bool write) {
  u32 hits = 0;
  for (unsigned n = 0; n < 4; ++n) {
    const BreakpointKind kind = breakpoint_kind(dr7, n);
    if (!breakpoint_enabled(dr7, n)) continue;
    if (kind != BreakpointKind::kReadWrite && !(kind == BreakpointKind::kWrite && write)) continue;
    const u64 length = breakpoint_length(dr7, n);
    const u64 start = align_down(dr[n], length);
    if (address - start < length || start - address < size) hits |= 1u << n;
  }
  return hits;
}

}  // namespace vellum
