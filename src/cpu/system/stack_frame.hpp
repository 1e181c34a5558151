// A group of pushes that happens as a whole or not at all: what calls and event delivery put on a stack,
// which may not be the current one yet. Memory is touched by commit() only, once every push is known to
// succeed.
#pragma once

#include <array>

#include "cpu/system/vcpu.hpp"

namespace vellum::protection {

/// `sp` as a stack pointer of `bytes` (2, 4 or 8) bytes.
constexpr u64 wrap_stack(u64 sp, unsigned bytes) {
  return sp & low_mask(8 * bytes);
}

/// Writes SP, ESP or RSP by the stack's address size: a 16-bit stack leaves the upper part alone.
inline void set_stack_pointer(Vcpu& v, unsigned bytes, u64 sp) {
  u64& rsp = v.state.gpr[x86::kRsp];
  rsp = bytes == 2 ? (rsp & ~u64{0xffff}) | (sp & 0xffff) : wrap_stack(sp, bytes);
}

class StackFrame {
 public:
  /// Onto the current stack, at the current privilege.
  explicit StackFrame(Vcpu& v);
  /// Onto a stack to be switched to. `bytes`: its address size (8: no segmentation). `limit_error`: the error
  /// code of the #SS for a push beyond the limit.
  StackFrame(Vcpu& v, const x86::Segment& ss, u64 sp, unsigned bytes, Privilege privilege, u32 limit_error);

  /// Checks one push of `size` bytes (2, 4 or 8) against the limit and notes it: #SS if it doesn't fit.
  [[nodiscard]] bool push(unsigned size, u64 value);
  /// Checks all pages, then stores. The stack pointer is the caller's to set.
  [[nodiscard]] bool commit();

  u64 sp() const { return sp_; }
  unsigned bytes() const { return bytes_; }

 private:
  struct Entry {
    u64 linear, value;
    unsigned size;
  };
  static constexpr unsigned kCapacity = 36;  // a call gate: SS, ESP, 31 parameters, CS, EIP

  Vcpu& v_;
  const x86::Segment& ss_;
  u64 sp_;
  unsigned bytes_;
  Privilege privilege_;
  u32 limit_error_;
  unsigned count_ = 0;
  std::array<Entry, kCapacity> entries_;
};

}  // namespace vellum::protection
