// The binders of each family of instructions. Each sets out.run and the operand fields, or returns false for
// an instruction that is not its own.
#pragma once

#include "cpu/interp/native/isa.hpp"
#include "cpu/interp/native/thunk.hpp"

namespace vellum::interp::native {

struct Request {
  const x86::Decoded& decoded;
  const Vcpu& v;
  bool mode_64;
  ThunkCache& thunks;

  ZydisMnemonic mnemonic() const { return decoded.info.mnemonic; }
  const ZydisDecodedOperand& operand(unsigned n) const { return decoded.operands[n]; }
  bool is_memory(unsigned n) const { return operand(n).type == ZYDIS_OPERAND_TYPE_MEMORY; }
  bool is_register(unsigned n) const { return operand(n).type == ZYDIS_OPERAND_TYPE_REGISTER; }
  bool vex() const { return decoded.info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX; }
  void memory(unsigned n, Insn& out) const { bind_memory(operand(n), decoded.info, mode_64, out); }
};

bool bind_move(const Request& request, Insn& out);         ///< the commonest vector moves, without a thunk
bool bind_masked(const Request& request, Insn& out);       ///< masked moves and gathers
bool bind_vector(const Request& request, Insn& out);       ///< every other vector instruction, by thunk
bool bind_x87_control(const Request& request, Insn& out);  ///< FNINIT, FLDCW, FNSTENV …
bool bind_x87(const Request& request, Insn& out);          ///< every other x87 instruction, by thunk
bool bind_state(const Request& request, Insn& out);        ///< FXSAVE, XSAVE …, LDMXCSR, STMXCSR
bool bind_integer(const Request& request, Insn& out);
bool bind_hint(const Request& request, Insn& out);

/// Offsets of vector registers within Vcpu, for reg<T>().
inline u16 xmm_offset(unsigned n) {
  return static_cast<u16>(offsetof(VcpuState, xsave) + offsetof(XsaveArea, legacy) + 160 + 16 * n);
}
inline u16 ymm_high_offset(unsigned n) {
  return static_cast<u16>(offsetof(VcpuState, xsave) + offsetof(XsaveArea, ymm_high) + 16 * n);
}
inline unsigned vector_number(const ZydisDecodedOperand& operand) {
  return static_cast<unsigned>(ZydisRegisterGetId(operand.reg.value));
}

}  // namespace vellum::interp::native
