// Pushes and pops on the current stack, in all modes: the stack-address size (SS.B, 64-bit mode) decides how
// RSP wraps.
#pragma once

#include "cpu/system/vcpu.hpp"

namespace vellum {

/// Bytes of the stack pointer in use: 2, 4 or 8.
unsigned stack_address_bytes(const Vcpu& v);

/// Pushes `size` bytes (2, 4 or 8). RSP changes only on success.
[[nodiscard]] bool push(Vcpu& v, unsigned size, u64 value);
/// Pops `size` bytes (2, 4 or 8); RSP changes only on success.
[[nodiscard]] bool pop(Vcpu& v, unsigned size, u64& value);
/// Reads `size` bytes at `offset` above the top of the stack without moving RSP.
[[nodiscard]] bool peek(Vcpu& v, unsigned size, u64 offset, u64& value);
/// Adds to SP/ESP/RSP with the stack's wrap-around.
void adjust_sp(Vcpu& v, i64 delta);

}  // namespace vellum
