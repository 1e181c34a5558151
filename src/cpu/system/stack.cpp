#include "cpu/system/stack.hpp"

#include "cpu/system/segments.hpp"
#include "cpu/system/stack_frame.hpp"

namespace vellum {

using x86::Seg;

unsigned stack_address_bytes(const Vcpu& v) {
  if (v.state.mode_64()) return 8;
  return v.state.segment(Seg::kSs).big() ? 4 : 2;
}

bool push(Vcpu& v, unsigned size, u64 value) {
  const unsigned bytes = stack_address_bytes(v);
  const u64 sp = protection::wrap_stack(v.state.gpr[x86::kRsp] - size, bytes);
  u64 linear = 0;
  if (!linear_address(v, Seg::kSs, sp, size, Access::kWrite, linear)) return false;
  bool written = false;
  switch (size) {
    case 2:
      written = v.mmu.write<u16>(linear, static_cast<u16>(value), Seg::kSs);
      break;
    case 4:
      written = v.mmu.write<u32>(linear, static_cast<u32>(value), Seg::kSs);
      break;
    default:
      written = v.mmu.write<u64>(linear, value, Seg::kSs);
      break;
  }
  if (!written) return false;
  protection::set_stack_pointer(v, bytes, sp);
  return true;
}

bool peek(Vcpu& v, unsigned size, u64 offset, u64& value) {
  const u64 sp = protection::wrap_stack(v.state.gpr[x86::kRsp] + offset, stack_address_bytes(v));
  u64 linear = 0;
  if (!linear_address(v, Seg::kSs, sp, size, Access::kRead, linear)) return false;
  switch (size) {
    case 2: {
      u16 word = 0;
      if (!v.mmu.read<u16>(linear, word, Seg::kSs)) return false;
      value = word;
      return true;
    }
    case 4: {
      u32 doubleword = 0;
      if (!v.mmu.read<u32>(linear, doubleword, Seg::kSs)) return false;
      value = doubleword;
      return true;
    }
    default:
      return v.mmu.read<u64>(linear, value, Seg::kSs);
  }
}

bool pop(Vcpu& v, unsigned size, u64& value) {
  if (!peek(v, size, 0, value)) return false;
  adjust_sp(v, size);
  return true;
}

void adjust_sp(Vcpu& v, i64 delta) {
  const unsigned bytes = stack_address_bytes(v);
  protection::set_stack_pointer(v, bytes, v.state.gpr[x86::kRsp] + static_cast<u64>(delta));
}

}  // namespace vellum
