// Transfers that change CS, through cpu/system: far JMP, CALL and RET, IRET, INT n, system calls; and the
// loads of far pointers.
#include "cpu/interp/binding.hpp"
#include "cpu/system/transfers.hpp"

namespace vellum::interp {
namespace {

Flow finish(bool done) {
  return done ? Flow::kEndUnit : Flow::kFault;
}

// A far pointer in memory: the offset, then the selector.
bool read_far_pointer(Vcpu& v, const Insn& i, u16& selector, u64& offset) {
  u64 address, word;
  if (!linear_of(v, i, i.size + 2u, Access::kRead, address)) return false;
  if (!v.mmu.read_as(Privilege::kCurrent, address, i.size, offset, seg_of(i)) ||
      !v.mmu.read_as(Privilege::kCurrent, address + i.size, 2, word, seg_of(i)))
    return false;
  selector = static_cast<u16>(word);
  return true;
}

// Direct: imm holds the offset, `disp` the selector.
Flow jmp_far_direct(Vcpu& v, const Insn& i) {
  return finish(far_jump(v, static_cast<u16>(i.disp), i.imm, i.size));
}
Flow call_far_direct(Vcpu& v, const Insn& i) {
  return finish(far_call(v, static_cast<u16>(i.disp), i.imm, i.size));
}
Flow jmp_far_indirect(Vcpu& v, const Insn& i) {
  u16 selector;
  u64 offset;
  return finish(read_far_pointer(v, i, selector, offset) && far_jump(v, selector, offset, i.size));
}
Flow call_far_indirect(Vcpu& v, const Insn& i) {
  u16 selector;
  u64 offset;
  return finish(read_far_pointer(v, i, selector, offset) && far_call(v, selector, offset, i.size));
}
Flow ret_far(Vcpu& v, const Insn& i) {
  return finish(vellum::far_return(v, i.size, static_cast<u16>(i.imm)));
}
Flow iret_op(Vcpu& v, const Insn& i) {
  return finish(vellum::interrupt_return(v, i.size));
}

Flow int_op(Vcpu& v, const Insn& i) {
  if (!vellum::software_interrupt(v, static_cast<u8>(i.imm), static_cast<x86::EventKind>(i.aux)))
    return Flow::kFault;
  v.entered_handler = true;
  return Flow::kEndUnit;
}
Flow into_op(Vcpu& v, const Insn& i) {
  return (v.state.rflags & x86::rflags::kOf) == 0 ? Flow::kNext : int_op(v, i);
}

Flow syscall_op(Vcpu& v, const Insn&) {
  return finish(vellum::syscall(v));
}
Flow sysret_op(Vcpu& v, const Insn& i) {
  return finish(vellum::sysret(v, i.size));
}
Flow sysenter_op(Vcpu& v, const Insn&) {
  return finish(vellum::sysenter(v));
}
Flow sysexit_op(Vcpu& v, const Insn& i) {
  return finish(vellum::sysexit(v, i.size));
}

template <class T>
Flow load_far_pointer(Vcpu& v, const Insn& i) {
  u16 selector;
  u64 offset;
  const auto seg = static_cast<x86::Seg>(i.aux);
  if (!read_far_pointer(v, i, selector, offset) || !load_segment(v, seg, selector)) return Flow::kFault;
  write_reg<T>(v, i.dst, static_cast<T>(offset));
  if (seg == x86::Seg::kSs) v.state.shadow_mov_ss = true;
  return Flow::kEndUnit;
}

}  // namespace

namespace bind {

void far_branch(const Binding& b, Insn& out) {
  const bool call = b.mnemonic() == ZYDIS_MNEMONIC_CALL;
  out.size = static_cast<u8>(b.operand_bytes());
  if (b.operand(0).type == ZYDIS_OPERAND_TYPE_POINTER) {
    out.imm = b.operand(0).ptr.offset;
    out.disp = b.operand(0).ptr.segment;
    out.run = call ? &call_far_direct : &jmp_far_direct;
  } else {
    b.memory(0, out);
    out.run = call ? &call_far_indirect : &jmp_far_indirect;
  }
}

void far_return(const Binding& b, Insn& out) {
  out.size = static_cast<u8>(b.operand_bytes());
  if (b.is_immediate(0)) out.imm = static_cast<u16>(b.immediate(0));
  out.run = &ret_far;
}

void interrupt_return(const Binding& b, Insn& out) {
  out.size = b.mnemonic() == ZYDIS_MNEMONIC_IRET ? 2 : b.mnemonic() == ZYDIS_MNEMONIC_IRETD ? 4 : 8;
  out.run = &iret_op;
}

void software_interrupt(const Binding& b, Insn& out) {
  out.run = &int_op;
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_INT3:
      out.imm = x86::kBp;
      out.aux = static_cast<u8>(x86::EventKind::kSoftwareException);
      break;
    case ZYDIS_MNEMONIC_INTO:
      out.imm = x86::kOf;
      out.aux = static_cast<u8>(x86::EventKind::kSoftwareException);
      out.run = &into_op;
      break;
    case ZYDIS_MNEMONIC_INT1:
      out.imm = x86::kDb;
      out.aux = static_cast<u8>(x86::EventKind::kPrivilegedSoftware);
      break;
    default:
      out.imm = static_cast<u8>(b.immediate(0));
      out.aux = static_cast<u8>(x86::EventKind::kSoftwareInterrupt);
      break;
  }
}

void system_call(const Binding& b, Insn& out) {
  out.size = static_cast<u8>(
      (b.decoded.info.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && b.decoded.info.raw.rex.W ? 8 : 4);
  const auto& model = b.v.model;
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_SYSCALL:
      out.run = model.has(x86::Feature::kSyscall) ? &syscall_op : &undefined_opcode;
      break;
    case ZYDIS_MNEMONIC_SYSRET:
      out.run = model.has(x86::Feature::kSyscall) ? &sysret_op : &undefined_opcode;
      break;
    case ZYDIS_MNEMONIC_SYSENTER:
      out.run = model.has(x86::Feature::kSep) ? &sysenter_op : &undefined_opcode;
      break;
    default:
      out.run = model.has(x86::Feature::kSep) ? &sysexit_op : &undefined_opcode;
      break;
  }
}

void far_pointer(const Binding& b, Insn& out) {
  out.dst = b.register_of(0);
  out.size = static_cast<u8>(b.size(0));
  b.memory(1, out);
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_LES:
      out.aux = static_cast<u8>(x86::Seg::kEs);
      break;
    case ZYDIS_MNEMONIC_LDS:
      out.aux = static_cast<u8>(x86::Seg::kDs);
      break;
    case ZYDIS_MNEMONIC_LSS:
      out.aux = static_cast<u8>(x86::Seg::kSs);
      break;
    case ZYDIS_MNEMONIC_LFS:
      out.aux = static_cast<u8>(x86::Seg::kFs);
      break;
    default:
      out.aux = static_cast<u8>(x86::Seg::kGs);
      break;
  }
  for_word_size(out.size, [&](auto t) { out.run = &load_far_pointer<decltype(t)>; });
}

}  // namespace bind

}  // namespace vellum::interp
