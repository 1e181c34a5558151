// x87 control instructions, and FWAIT: on the state alone (SDM vol. 1 §8.3.11, vol. 2A).
#include <array>

#include "cpu/interp/native/families.hpp"
#include "cpu/interp/native/memory.hpp"
#include "cpu/interp/native/x87.hpp"

namespace vellum::interp::native {
namespace {

// FWAIT heeds TS only together with MP, and not EM (SDM vol. 3A table 2-2).
Flow fwait(Vcpu& v, const Insn&) {
  constexpr u64 kBoth = x86::cr0::kMp | x86::cr0::kTs;
  if ((v.state.cr0 & kBoth) == kBoth) {
    v.raise(x86::kNm);
    return Flow::kFault;
  }
  if (!x87_pending(v.state)) return Flow::kNext;
  v.raise(x86::kMf);
  return Flow::kFault;
}

// The 8087's and 80287's FENI, FDISI, FSETPM.
Flow no_operation(Vcpu& v, const Insn&) {
  return gate_open<Gate::kX87Quiet>(v.state) ? Flow::kNext : gate_fault(v, Gate::kX87Quiet);
}

Flow fninit(Vcpu& v, const Insn&) {
  if (!gate_open<Gate::kX87Quiet>(v.state)) return gate_fault(v, Gate::kX87Quiet);
  initialize_x87(v.state.xsave);
  settle_ferr(v);
  return Flow::kNext;
}

Flow fnclex(Vcpu& v, const Insn&) {
  if (!gate_open<Gate::kX87Quiet>(v.state)) return gate_fault(v, Gate::kX87Quiet);
  v.state.xsave.fsw() &= 0x7f00;
  settle_ferr(v);
  return Flow::kNext;
}

Flow fnstcw(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kX87Quiet>(v.state)) return gate_fault(v, Gate::kX87Quiet);
  return store<u16>(v, i, v.state.xsave.fcw()) ? after_store(v) : Flow::kFault;
}

Flow fnstsw(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kX87Quiet>(v.state)) return gate_fault(v, Gate::kX87Quiet);
  return store<u16>(v, i, v.state.xsave.fsw()) ? after_store(v) : Flow::kFault;
}

Flow fnstsw_ax(Vcpu& v, const Insn&) {
  if (!gate_open<Gate::kX87Quiet>(v.state)) return gate_fault(v, Gate::kX87Quiet);
  reg<u16>(v, gpr_offset(x86::kRax)) = v.state.xsave.fsw();
  return Flow::kNext;
}

Flow fldcw(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kX87>(v.state)) return gate_fault(v, Gate::kX87);
  u16 value;
  if (!load<u16>(v, i, value)) return Flow::kFault;
  v.state.xsave.fcw() = value;
  recompute_pending(v.state.xsave);
  settle_ferr(v);
  return Flow::kNext;
}

EnvironmentFormat format_of(const Vcpu& v, const Insn& i) {
  return {.wide = i.aux != 0, .real = v.state.real_mode() || v.state.virtual_8086()};
}

constexpr unsigned kRegisters = 80;  // FSAVE's eight registers of ten bytes
using SaveImage = std::array<u8, 28 + kRegisters>;

Flow fnstenv(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kX87Quiet>(v.state)) return gate_fault(v, Gate::kX87Quiet);
  const EnvironmentFormat format = format_of(v, i);
  u64 linear;
  if (!linear_of(v, i, format.size(), Access::kWrite, linear)) return Flow::kFault;
  SaveImage image;
  write_environment(v.state.xsave, format, image);
  if (!v.mmu.write_bytes(linear, image.data(), format.size(), seg_of(i))) return Flow::kFault;
  v.state.xsave.fcw() |= 0x3f;
  recompute_pending(v.state.xsave);
  settle_ferr(v);
  return after_store(v);
}

Flow fldenv(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kX87>(v.state)) return gate_fault(v, Gate::kX87);
  const EnvironmentFormat format = format_of(v, i);
  u64 linear;
  if (!linear_of(v, i, format.size(), Access::kRead, linear)) return Flow::kFault;
  SaveImage image;
  if (!v.mmu.read_bytes(linear, image.data(), format.size(), seg_of(i))) return Flow::kFault;
  read_environment(v.state.xsave, format, image);
  v.x87_status_loaded = true;
  return Flow::kNext;
}

Flow fnsave(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kX87Quiet>(v.state)) return gate_fault(v, Gate::kX87Quiet);
  const EnvironmentFormat format = format_of(v, i);
  const unsigned size = format.size() + kRegisters;
  u64 linear;
  if (!linear_of(v, i, size, Access::kWrite, linear)) return Flow::kFault;
  SaveImage image;
  write_environment(v.state.xsave, format, image);
  for (unsigned n = 0; n < 8; ++n)
    std::copy_n(v.state.xsave.st(n), 10, image.begin() + format.size() + 10 * n);
  if (!v.mmu.write_bytes(linear, image.data(), size, seg_of(i))) return Flow::kFault;
  initialize_x87(v.state.xsave);
  settle_ferr(v);
  return after_store(v);
}

Flow frstor(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kX87>(v.state)) return gate_fault(v, Gate::kX87);
  const EnvironmentFormat format = format_of(v, i);
  const unsigned size = format.size() + kRegisters;
  u64 linear;
  if (!linear_of(v, i, size, Access::kRead, linear)) return Flow::kFault;
  SaveImage image;
  if (!v.mmu.read_bytes(linear, image.data(), size, seg_of(i))) return Flow::kFault;
  read_environment(v.state.xsave, format, image);
  v.x87_status_loaded = true;
  for (unsigned n = 0; n < 8; ++n) {
    u8* st = v.state.xsave.st(n);
    std::copy_n(image.begin() + format.size() + 10 * n, 10, st);
    std::fill_n(st + 10, 6, u8{0});
  }
  return Flow::kNext;
}

Handler handler_of(const Request& r) {
  switch (r.mnemonic()) {
    case ZYDIS_MNEMONIC_FWAIT:
      return fwait;
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
      return no_operation;
    case ZYDIS_MNEMONIC_FNINIT:
      return fninit;
    case ZYDIS_MNEMONIC_FNCLEX:
      return fnclex;
    case ZYDIS_MNEMONIC_FNSTCW:
      return fnstcw;
    case ZYDIS_MNEMONIC_FNSTSW:
      return r.is_memory(0) ? fnstsw : fnstsw_ax;
    case ZYDIS_MNEMONIC_FLDCW:
      return fldcw;
    case ZYDIS_MNEMONIC_FNSTENV:
      return fnstenv;
    case ZYDIS_MNEMONIC_FLDENV:
      return fldenv;
    case ZYDIS_MNEMONIC_FNSAVE:
      return fnsave;
    case ZYDIS_MNEMONIC_FRSTOR:
      return frstor;
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_x87_control(const Request& r, Insn& out) {
  out.run = handler_of(r);
  if (out.run == nullptr) return false;
  if (r.decoded.info.operand_count != 0 && r.is_memory(0)) {
    r.memory(0, out);
    const unsigned bits = r.operand(0).size;
    out.aux = bits == 28 * 8 || bits == (28 + kRegisters) * 8;  // 32-bit operand size
  }
  return true;
}

}  // namespace vellum::interp::native
