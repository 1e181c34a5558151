// Which vector and x87 instructions run natively in translated code, and what each needs. Left to their
// handlers: what is not one access to memory (gathers, masked moves, save areas), and what changes the masks
// of exceptions (LDMXCSR, FNINIT, FLDENV …), but for FLDCW.
#include "cpu/bt/form.hpp"
#include "cpu/bt/vector_state.hpp"
#include "cpu/interp/native/isa.hpp"

namespace vellum::bt {
namespace {

using interp::native::Family;
using x86::rflags::kArithmetic;

bool names_class(const x86::Decoded& d, ZydisRegisterClass wanted) {
  for (unsigned n = 0; n < d.info.operand_count; ++n) {
    const ZydisDecodedOperand& o = d.operands[n];
    if (o.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(o.reg.value) == wanted) return true;
  }
  return false;
}

// The explicit memory operand. False: one that is not a single plain access.
bool find_memory(const x86::Decoded& d, const interp::Insn& insn, Form& form) {
  for (unsigned n = 0; n < d.info.operand_count; ++n) {
    const ZydisDecodedOperand& o = d.operands[n];
    if (o.type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    if (o.visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT || o.mem.type != ZYDIS_MEMOP_TYPE_MEM) return false;
    form.memory = static_cast<int>(n);
    form.memory_written = (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    form.alignment = insn.aux;
    form.observable = true;
  }
  return true;
}

Form plain(const x86::Decoded& d, const interp::Insn& insn) {
  Form form{.scheme = Scheme::kVector, .observable = false};
  if (!find_memory(d, insn, form)) return {};
  if (d.info.cpu_flags != nullptr) {
    const auto& flags = *d.info.cpu_flags;
    form.reads = flags.tested & kArithmetic;
    // Those that set any arithmetic flag (comparisons, tests, string comparisons) set or clear all six.
    if (((flags.modified | flags.set_0 | flags.set_1) & kArithmetic) != 0) form.writes = kArithmetic;
  }
  return form;
}

// Which gate of the interpreter's each instruction has (cpu/interp/native/vector.cpp).
u8 vector_bits(const x86::Decoded& d) {
  if (d.info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) return kAvxOpen;
  const ZydisMnemonic m = d.info.mnemonic;
  switch (m) {
    // MXCSR is theirs, too, even if no XMM register is.
    case ZYDIS_MNEMONIC_CVTPS2PI:
    case ZYDIS_MNEMONIC_CVTTPS2PI:
    case ZYDIS_MNEMONIC_CVTPD2PI:
    case ZYDIS_MNEMONIC_CVTTPD2PI:
    case ZYDIS_MNEMONIC_CVTPI2PS:
      return kX87Open | kSseOpen;
    default:
      break;
  }
  if (!names_class(d, ZYDIS_REGCLASS_MMX) && m != ZYDIS_MNEMONIC_EMMS) return kSseOpen;
  return names_class(d, ZYDIS_REGCLASS_XMM) ? kX87Open | kSseOpen : kX87Open;
}

// MASKMOV and VMASKMOV: what is masked off is not accessed and may be absent.
bool accesses_in_part(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
      return true;
    default:
      return false;
  }
}

Form vector(const x86::Decoded& d, const interp::Insn& insn) {
  if (accesses_in_part(d.info.mnemonic)) return {};
  Form form = plain(d, insn);
  form.vectors = vector_bits(d);
  return form;
}

Form x87(const x86::Decoded& d, const interp::Insn& insn) {
  Form form = plain(d, insn);
  form.vectors = kX87Open;
  form.alignment = 0;
  form.sets_fip = true;
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
      return {};
    // Control instructions leave the pointers alone.
    case ZYDIS_MNEMONIC_FWAIT:
      form.scheme = Scheme::kNothing;
      form.sets_fip = false;
      return form;
    case ZYDIS_MNEMONIC_FLDCW:
      form.scheme = Scheme::kLoadControl;
      form.sets_fip = false;
      return form;
    case ZYDIS_MNEMONIC_FNSTSW:
      if (form.memory < 0) form.scheme = Scheme::kStatusToAx;
      form.sets_fip = false;
      return form;
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNCLEX:
      form.sets_fip = false;
      return form;
    default:
      return form;
  }
}

// MXCSR by itself; other instructions of its family move whole states.
Form control(const x86::Decoded& d, const interp::Insn& insn) {
  Form form = plain(d, insn);
  form.alignment = 0;
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_LDMXCSR:
    case ZYDIS_MNEMONIC_VLDMXCSR:
      form.scheme = Scheme::kLoadControl;
      [[fallthrough]];
    case ZYDIS_MNEMONIC_STMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR:
      form.vectors = d.info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? kAvxOpen : kSseOpen;
      return form;
    default:
      return {};
  }
}

}  // namespace

Form vector_form(const x86::Decoded& d, const interp::Insn& insn) {
  const interp::native::IsaRow* row = interp::native::find_isa(d.info);
  if (row == nullptr || d.info.address_width == 16) return {};
  if (row->family == Family::kVector) return vector(d, insn);
  if (row->family == Family::kX87) return x87(d, insn);
  return control(d, insn);
}

}  // namespace vellum::bt
