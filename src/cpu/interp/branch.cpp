// Near transfers: JMP, Jcc, CALL, RET, LOOPcc, JrCXZ.
//
// A near target is masked to the operand size; outside 64-bit mode it must lie within CS's limit, in 64-bit
// mode it must be canonical, else #GP(0) with RIP still at the branch (SDM vol. 2, JMP and CALL).
#include <utility>

#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"
#include "cpu/system/stack.hpp"

namespace vellum::interp {
namespace {

[[gnu::always_inline]] inline bool check_target_64(Vcpu& v, u64 target) {
  if (!x86::is_canonical(target)) [[unlikely]]
    return v.raise_gp(0);
  return true;
}
bool check_target_legacy(Vcpu& v, u64 target) {
  return target <= v.state.segment(x86::Seg::kCs).limit || v.raise_gp(0);
}
// The target in the form that RIP takes, for operand size i.size.
u64 mask_target(const Insn& i, u64 target) {
  return i.size == 2 ? target & 0xffff : target & 0xffffffff;
}

bool go_legacy(Vcpu& v, const Insn& i, u64 target) {
  target = mask_target(i, target);
  if (!check_target_legacy(v, target)) return false;
  v.state.rip = target;
  return true;
}

// --- Direct
// -------------------------------------------------------------------------------------------------------

// Relative targets stay canonical except at the very edges of the address space, where the fetch faults
// instead.
Flow jmp_rel(Vcpu& v, const Insn& i) {
  v.state.rip += i.imm;
  return Flow::kJump;
}
Flow jmp_rel_legacy(Vcpu& v, const Insn& i) {
  return go_legacy(v, i, v.state.rip + i.imm) ? Flow::kJump : Flow::kFault;
}

template <u8 cc>
Flow jcc_rel(Vcpu& v, const Insn& i) {
  if (condition<cc>(v.state.rflags)) v.state.rip += i.imm;
  return Flow::kJump;
}
template <u8 cc>
Flow jcc_rel_legacy(Vcpu& v, const Insn& i) {
  return condition<cc>(v.state.rflags) ? jmp_rel_legacy(v, i) : Flow::kJump;
}
template <std::size_t... cc>
Handler choose_jcc(unsigned n, bool legacy, std::index_sequence<cc...>) {
  static constexpr Handler kLong[] = {&jcc_rel<cc>...};
  static constexpr Handler kLegacy[] = {&jcc_rel_legacy<cc>...};
  return legacy ? kLegacy[n] : kLong[n];
}

Flow call_rel(Vcpu& v, const Insn& i) {
  const u64 rsp = v.state.gpr[x86::kRsp] - 8;
  if (!v.mmu.write<u64>(rsp, v.state.rip, x86::Seg::kSs)) return Flow::kFault;
  v.state.gpr[x86::kRsp] = rsp;
  v.state.rip += i.imm;
  return Flow::kJump;
}

// --- Indirect
// -----------------------------------------------------------------------------------------------------

// The operand, zero-extended: `aux` says whether it is in memory.
bool read_target(Vcpu& v, const Insn& i, u64& target) {
  if (i.aux == 0) {
    target = i.size == 2 ? reg<u16>(v, i.src) : i.size == 4 ? reg<u32>(v, i.src) : reg<u64>(v, i.src);
    return true;
  }
  if (i.size == 8) return load<u64>(v, i, target);
  u32 narrow = 0;
  if (i.size == 2) {
    u16 word;
    if (!load<u16>(v, i, word)) return false;
    narrow = word;
  } else if (!load<u32>(v, i, narrow)) {
    return false;
  }
  target = narrow;
  return true;
}

Flow jmp_indirect(Vcpu& v, const Insn& i) {
  u64 target;
  if (!read_target(v, i, target) || !check_target_64(v, target)) return Flow::kFault;
  v.state.rip = target;
  return Flow::kJump;
}
Flow jmp_indirect_legacy(Vcpu& v, const Insn& i) {
  u64 target;
  return read_target(v, i, target) && go_legacy(v, i, target) ? Flow::kJump : Flow::kFault;
}
Flow call_indirect(Vcpu& v, const Insn& i) {
  u64 target;
  if (!read_target(v, i, target) || !check_target_64(v, target)) return Flow::kFault;
  const u64 rsp = v.state.gpr[x86::kRsp] - 8;
  if (!v.mmu.write<u64>(rsp, v.state.rip, x86::Seg::kSs)) return Flow::kFault;
  v.state.gpr[x86::kRsp] = rsp;
  v.state.rip = target;
  return Flow::kJump;
}
Flow call_legacy(Vcpu& v, const Insn& i, u64 target) {
  target = mask_target(i, target);
  if (!check_target_legacy(v, target) || !push(v, i.size, v.state.rip)) return Flow::kFault;
  v.state.rip = target;
  return Flow::kJump;
}
Flow call_rel_legacy(Vcpu& v, const Insn& i) {
  return call_legacy(v, i, v.state.rip + i.imm);
}
Flow call_indirect_legacy(Vcpu& v, const Insn& i) {
  u64 target;
  return read_target(v, i, target) ? call_legacy(v, i, target) : Flow::kFault;
}

Flow ret_op(Vcpu& v, const Insn& i) {
  u64 target;
  if (!v.mmu.read<u64>(v.state.gpr[x86::kRsp], target, x86::Seg::kSs) || !check_target_64(v, target))
    return Flow::kFault;
  v.state.gpr[x86::kRsp] += 8 + i.imm;
  v.state.rip = target;
  return Flow::kJump;
}
Flow ret_legacy(Vcpu& v, const Insn& i) {
  u64 target;
  if (!peek(v, i.size, 0, target) || !go_legacy(v, i, target)) return Flow::kFault;
  adjust_sp(v, i.size + static_cast<i64>(i.imm));
  return Flow::kJump;
}

// --- Counted
// ------------------------------------------------------------------------------------------------------

// rCX of the address size.
u64 read_count(const Vcpu& v, const Insn& i) {
  return v.state.gpr[x86::kRcx] << i.address_shift >> i.address_shift;
}
void write_count(Vcpu& v, const Insn& i, u64 value) {
  const u16 rcx = gpr_offset(x86::kRcx);
  if (i.address_shift == 48)
    write_reg<u16>(v, rcx, static_cast<u16>(value));
  else if (i.address_shift == 32)
    write_reg<u32>(v, rcx, static_cast<u32>(value));
  else
    write_reg<u64>(v, rcx, value);
}

enum : u8 { kLoop, kLoopEqual, kLoopNotEqual, kJumpIfZero };

Flow counted(Vcpu& v, const Insn& i) {
  const u64 count = read_count(v, i) - (i.aux == kJumpIfZero ? 0 : 1);
  const u64 masked = count << i.address_shift >> i.address_shift;
  const bool zf = (v.state.rflags & x86::rflags::kZf) != 0;
  bool taken;
  switch (i.aux) {
    case kLoop:
      taken = masked != 0;
      break;
    case kLoopEqual:
      taken = masked != 0 && zf;
      break;
    case kLoopNotEqual:
      taken = masked != 0 && !zf;
      break;
    default:
      taken = masked == 0;
      break;
  }
  if (taken) {
    if (i.legacy) {
      if (!go_legacy(v, i, v.state.rip + i.imm)) return Flow::kFault;
    } else {
      v.state.rip += i.imm;
    }
  }
  if (i.aux != kJumpIfZero) write_count(v, i, masked);
  return Flow::kJump;
}

// Near branches in 64-bit mode have 64-bit operands whatever the prefixes (Intel's rule).
void bind_size(const Binding& b, Insn& out) {
  out.legacy = !b.mode_64();
  out.size = static_cast<u8>(b.mode_64() ? 8 : b.operand_bytes());
}
void bind_target(const Binding& b, Insn& out) {
  bind_size(b, out);
  if (b.is_memory(0)) {
    b.memory(0, out);
    out.aux = 1;
  } else {
    out.src = b.register_of(0);
  }
}
bool is_far(const Binding& b) {
  return b.decoded.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
}

}  // namespace

namespace bind {

void jmp(const Binding& b, Insn& out) {
  if (is_far(b)) return far_branch(b, out);
  if (b.is_immediate(0)) {
    bind_size(b, out);
    out.imm = b.immediate(0);
    out.run = out.legacy ? &jmp_rel_legacy : &jmp_rel;
    return;
  }
  bind_target(b, out);
  out.run = out.legacy ? &jmp_indirect_legacy : &jmp_indirect;
}

void jcc(const Binding& b, Insn& out) {
  bind_size(b, out);
  out.imm = b.immediate(0);
  out.run = choose_jcc(b.decoded.info.opcode & 15, out.legacy, std::make_index_sequence<16>{});
}

void call(const Binding& b, Insn& out) {
  if (is_far(b)) return far_branch(b, out);
  if (b.is_immediate(0)) {
    bind_size(b, out);
    out.imm = b.immediate(0);
    out.run = out.legacy ? &call_rel_legacy : &call_rel;
    return;
  }
  bind_target(b, out);
  out.run = out.legacy ? &call_indirect_legacy : &call_indirect;
}

void ret(const Binding& b, Insn& out) {
  if (is_far(b)) return far_return(b, out);
  bind_size(b, out);
  if (b.is_immediate(0)) out.imm = static_cast<u16>(b.immediate(0));
  out.run = out.legacy ? &ret_legacy : &ret_op;
}

void loop(const Binding& b, Insn& out) {
  bind_size(b, out);
  out.imm = b.immediate(0);
  out.address_shift = static_cast<u8>(64 - b.decoded.info.address_width);
  out.aux = b.mnemonic() == ZYDIS_MNEMONIC_LOOPE    ? kLoopEqual
            : b.mnemonic() == ZYDIS_MNEMONIC_LOOPNE ? kLoopNotEqual
                                                    : kLoop;
  out.run = &counted;
}

void jcxz(const Binding& b, Insn& out) {
  loop(b, out);
  out.aux = kJumpIfZero;
}

}  // namespace bind

}  // namespace vellum::interp
