// PUSH, POP and their families, ENTER, LEAVE, PUSHF, POPF.
#include "cpu/interp/binding.hpp"
#include "cpu/system/control.hpp"
#include "cpu/system/stack.hpp"

namespace vellum::interp {
namespace {

// 64-bit mode with 8-byte operands, by far the most frequent, has its own short form.
[[gnu::always_inline]] inline Flow push64(Vcpu& v, u64 value) {
  const u64 rsp = v.state.gpr[x86::kRsp] - 8;
  if (!v.mmu.write<u64>(rsp, value, x86::Seg::kSs)) return Flow::kFault;
  v.state.gpr[x86::kRsp] = rsp;
  return after_store(v);
}
Flow push64_reg(Vcpu& v, const Insn& i) {
  return push64(v, reg<u64>(v, i.src));
}
Flow push64_imm(Vcpu& v, const Insn& i) {
  return push64(v, i.imm);
}
Flow push64_mem(Vcpu& v, const Insn& i) {
  u64 value;
  return load<u64>(v, i, value) ? push64(v, value) : Flow::kFault;
}
Flow pop64_reg(Vcpu& v, const Insn& i) {
  u64 value;
  if (!v.mmu.read<u64>(v.state.gpr[x86::kRsp], value, x86::Seg::kSs)) return Flow::kFault;
  v.state.gpr[x86::kRsp] += 8;
  reg<u64>(v, i.dst) = value;
  return Flow::kNext;
}

Flow push_value(Vcpu& v, const Insn& i, u64 value) {
  return push(v, i.size, value) ? after_store(v) : Flow::kFault;
}
Flow push_reg(Vcpu& v, const Insn& i) {
  return push_value(v, i,
                    i.size == 2   ? reg<u16>(v, i.src)
                    : i.size == 4 ? reg<u32>(v, i.src)
                                  : reg<u64>(v, i.src));
}
Flow push_imm(Vcpu& v, const Insn& i) {
  return push_value(v, i, i.imm);
}
template <class T>
Flow push_mem(Vcpu& v, const Insn& i) {
  T value;
  return load<T>(v, i, value) ? push_value(v, i, value) : Flow::kFault;
}
Flow push_seg(Vcpu& v, const Insn& i) {
  return push_value(v, i, v.state.seg[i.aux].selector);
}

template <class T>
Flow pop_reg(Vcpu& v, const Insn& i) {
  u64 value;
  if (!pop(v, sizeof(T), value)) return Flow::kFault;
  write_reg<T>(v, i.dst, static_cast<T>(value));
  return Flow::kNext;
}
// The address of POP's memory operand is formed with RSP already incremented.
template <class T>
Flow pop_mem(Vcpu& v, const Insn& i) {
  const u64 rsp = v.state.gpr[x86::kRsp];
  u64 value;
  if (!pop(v, sizeof(T), value)) return Flow::kFault;
  if (store<T>(v, i, static_cast<T>(value))) return after_store(v);
  v.state.gpr[x86::kRsp] = rsp;
  return Flow::kFault;
}
Flow pop_seg(Vcpu& v, const Insn& i) {
  u64 value;
  const auto seg = static_cast<x86::Seg>(i.aux);
  if (!peek(v, i.size, 0, value) || !load_segment(v, seg, static_cast<u16>(value))) return Flow::kFault;
  adjust_sp(v, i.size);
  if (seg == x86::Seg::kSs) v.state.shadow_mov_ss = true;
  return Flow::kEndUnit;
}

// On a fault the registers are as before; words already pushed lie below the stack pointer.
Flow push_all_op(Vcpu& v, const Insn& i) {
  const u64 rsp = v.state.gpr[x86::kRsp];
  for (unsigned r = x86::kRax; r <= x86::kRdi; ++r) {
    const u64 value = r == x86::kRsp ? rsp : v.state.gpr[r];
    if (!push(v, i.size, value)) {
      v.state.gpr[x86::kRsp] = rsp;
      return Flow::kFault;
    }
  }
  return after_store(v);
}
Flow pop_all_op(Vcpu& v, const Insn& i) {
  u64 values[8];
  for (unsigned n = 0; n < 8; ++n)
    if (!peek(v, i.size, u64{n} * i.size, values[n])) return Flow::kFault;
  adjust_sp(v, 8 * i.size);
  for (unsigned r = x86::kRax; r <= x86::kRdi; ++r) {
    if (r == x86::kRsp) continue;  // the image's SP is skipped
    const u64 value = values[x86::kRdi - r];
    if (i.size == 2)
      write_reg<u16>(v, gpr_offset(r), static_cast<u16>(value));
    else
      write_reg<u32>(v, gpr_offset(r), static_cast<u32>(value));
  }
  return Flow::kNext;
}

Flow push_flags_op(Vcpu& v, const Insn& i) {
  u64 value;
  return push_flags_value(v, i.size, value) && push(v, i.size, value) ? after_store(v) : Flow::kFault;
}
Flow pop_flags_op(Vcpu& v, const Insn& i) {
  u64 value;
  if (!peek(v, i.size, 0, value) || !vellum::pop_flags(v, value, i.size)) return Flow::kFault;
  adjust_sp(v, i.size);
  return Flow::kEndUnit;  // IF or TF may have changed
}

// ENTER (SDM vol. 2): pushes rBP, then level - 1 frame pointers and the new one, then makes room.
Flow enter_op(Vcpu& v, const Insn& i) {
  const unsigned level = i.aux & 31;
  const u64 saved_rsp = v.state.gpr[x86::kRsp];
  const auto fault = [&] {
    v.state.gpr[x86::kRsp] = saved_rsp;
    return Flow::kFault;
  };
  const unsigned stack_bytes = stack_address_bytes(v);
  const u64 stack_mask = low_mask(8 * stack_bytes);
  if (!push(v, i.size, v.state.gpr[x86::kRbp])) return fault();
  const u64 frame = v.state.gpr[x86::kRsp] & stack_mask;
  for (unsigned n = 1; n < level; ++n) {
    const u64 offset = (v.state.gpr[x86::kRbp] - u64{n} * i.size) & stack_mask;
    u64 linear, value;
    if (!linear_address(v, x86::Seg::kSs, offset, i.size, Access::kRead, linear) ||
        !v.mmu.read_as(Privilege::kCurrent, linear, i.size, value, x86::Seg::kSs) || !push(v, i.size, value))
      return fault();
  }
  if (level > 0 && !push(v, i.size, frame)) return fault();
  adjust_sp(v, -static_cast<i64>(i.imm));
  // The word at the final stack pointer must be writable (SDM: #PF or #SS if not).
  u64 linear;
  if (!linear_address(v, x86::Seg::kSs, v.state.gpr[x86::kRsp] & stack_mask, i.size, Access::kWrite,
                      linear) ||
      !v.mmu.probe(linear, i.size, Access::kWrite, x86::Seg::kSs))
    return fault();
  const u16 rbp = gpr_offset(x86::kRbp);
  if (i.size == 2)
    write_reg<u16>(v, rbp, static_cast<u16>(frame));
  else if (i.size == 4)
    write_reg<u32>(v, rbp, static_cast<u32>(frame));
  else
    write_reg<u64>(v, rbp, frame);
  return after_store(v);
}

Flow leave_op(Vcpu& v, const Insn& i) {
  const unsigned stack_bytes = stack_address_bytes(v);
  const u64 saved_rsp = v.state.gpr[x86::kRsp];
  const u64 rbp = v.state.gpr[x86::kRbp];
  u64& rsp = v.state.gpr[x86::kRsp];
  if (stack_bytes == 8)
    rsp = rbp;
  else if (stack_bytes == 4)
    rsp = static_cast<u32>(rbp);
  else
    rsp = (rsp & ~u64{0xffff}) | (rbp & 0xffff);
  u64 value;
  if (!pop(v, i.size, value)) {
    rsp = saved_rsp;
    return Flow::kFault;
  }
  const u16 offset = gpr_offset(x86::kRbp);
  if (i.size == 2)
    write_reg<u16>(v, offset, static_cast<u16>(value));
  else if (i.size == 4)
    write_reg<u32>(v, offset, static_cast<u32>(value));
  else
    write_reg<u64>(v, offset, value);
  return Flow::kNext;
}

bool is_segment(const Binding& b) {
  return b.is_register(0) && ZydisRegisterGetClass(b.operand(0).reg.value) == ZYDIS_REGCLASS_SEGMENT;
}

// 64-bit mode pushes and pops 8 bytes, or 2 with an operand-size prefix.
unsigned stack_operand_bytes(const Binding& b) {
  const unsigned bytes = b.operand_bytes();
  return b.mode_64() && bytes == 4 ? 8 : bytes;
}

}  // namespace

namespace bind {

void push(const Binding& b, Insn& out) {
  out.size = static_cast<u8>(stack_operand_bytes(b));
  const bool short_form = b.mode_64() && out.size == 8;
  if (is_segment(b)) {
    out.aux = static_cast<u8>(b.operand(0).reg.value - ZYDIS_REGISTER_ES);
    out.run = &push_seg;
  } else if (b.is_memory(0)) {
    b.memory(0, out);
    if (short_form)
      out.run = &push64_mem;
    else
      for_word_size(out.size, [&](auto t) { out.run = &push_mem<decltype(t)>; });
  } else if (b.is_immediate(0)) {
    out.imm = b.immediate(0);
    out.run = short_form ? &push64_imm : &push_imm;
  } else {
    out.src = b.register_of(0);
    out.run = short_form ? &push64_reg : &push_reg;
  }
}

void pop(const Binding& b, Insn& out) {
  out.size = static_cast<u8>(stack_operand_bytes(b));
  if (is_segment(b)) {
    out.aux = static_cast<u8>(b.operand(0).reg.value - ZYDIS_REGISTER_ES);
    out.run = &pop_seg;
  } else if (b.is_memory(0)) {
    b.memory(0, out);
    for_word_size(out.size, [&](auto t) { out.run = &pop_mem<decltype(t)>; });
  } else {
    out.dst = b.register_of(0);
    if (b.mode_64() && out.size == 8)
      out.run = &pop64_reg;
    else
      for_word_size(out.size, [&](auto t) { out.run = &pop_reg<decltype(t)>; });
  }
}

void push_all(const Binding& b, Insn& out) {
  out.size = b.mnemonic() == ZYDIS_MNEMONIC_PUSHA ? 2 : 4;
  out.run = &push_all_op;
}
void pop_all(const Binding& b, Insn& out) {
  out.size = b.mnemonic() == ZYDIS_MNEMONIC_POPA ? 2 : 4;
  out.run = &pop_all_op;
}
void push_flags(const Binding& b, Insn& out) {
  out.size = b.mnemonic() == ZYDIS_MNEMONIC_PUSHF ? 2 : b.mnemonic() == ZYDIS_MNEMONIC_PUSHFD ? 4 : 8;
  out.run = &push_flags_op;
}
void pop_flags(const Binding& b, Insn& out) {
  out.size = b.mnemonic() == ZYDIS_MNEMONIC_POPF ? 2 : b.mnemonic() == ZYDIS_MNEMONIC_POPFD ? 4 : 8;
  out.run = &pop_flags_op;
}
void enter(const Binding& b, Insn& out) {
  out.size = static_cast<u8>(stack_operand_bytes(b));
  out.imm = static_cast<u16>(b.immediate(0));
  out.aux = static_cast<u8>(b.immediate(1));
  out.run = &enter_op;
}
void leave(const Binding& b, Insn& out) {
  out.size = static_cast<u8>(stack_operand_bytes(b));
  out.run = &leave_op;
}

}  // namespace bind

}  // namespace vellum::interp
