// From a decoded instruction to a handler: what binders share. A binder is one function for a family of
// instructions; table.cpp has the row that names it for each mnemonic.
#pragma once

#include "cpu/interp/operand.hpp"
#include "x86/decode.hpp"

namespace vellum::interp {

struct Binding {
  const x86::Decoded& decoded;
  const Vcpu& v;
  x86::CodeMode mode;

  bool mode_64() const { return mode == x86::CodeMode::kLong64; }
  const ZydisDecodedOperand& operand(unsigned n) const { return decoded.operands[n]; }
  bool is_register(unsigned n) const { return operand(n).type == ZYDIS_OPERAND_TYPE_REGISTER; }
  bool is_memory(unsigned n) const { return operand(n).type == ZYDIS_OPERAND_TYPE_MEMORY; }
  bool is_immediate(unsigned n) const { return operand(n).type == ZYDIS_OPERAND_TYPE_IMMEDIATE; }
  /// Bytes of operand n.
  unsigned size(unsigned n) const { return operand(n).size / 8; }
  /// Bytes of the operand size in force: 2, 4 or 8 (1 for byte instructions).
  unsigned operand_bytes() const { return decoded.info.operand_width / 8; }
  unsigned address_bytes() const { return decoded.info.address_width / 8; }
  bool has(ZydisInstructionAttributes attribute) const { return (decoded.info.attributes & attribute) != 0; }
  bool locked() const { return has(ZYDIS_ATTRIB_HAS_LOCK); }
  ZydisMnemonic mnemonic() const { return decoded.info.mnemonic; }
  u16 register_of(unsigned n) const { return register_offset(operand(n).reg.value); }
  u64 immediate(unsigned n) const { return operand(n).imm.value.u; }
  void memory(unsigned n, Insn& out) const { bind_memory(operand(n), decoded.info, mode_64(), out); }
};

/// Sets out.run and the operand fields. Always binds; an instruction that must not run binds to
/// undefined_opcode.
using Binder = void (*)(const Binding&, Insn& out);

/// The binder of a mnemonic, or nullptr if the table has no row for it.
Binder find_binder(ZydisMnemonic mnemonic);

/// Raises #UD.
Flow undefined_opcode(Vcpu& v, const Insn& i);

// The binders, by file.
namespace bind {
// arithmetic.cpp
void add(const Binding&, Insn&);
void sub(const Binding&, Insn&);
void adc(const Binding&, Insn&);
void sbb(const Binding&, Insn&);
void and_(const Binding&, Insn&);
void or_(const Binding&, Insn&);
void xor_(const Binding&, Insn&);
void cmp(const Binding&, Insn&);
void test(const Binding&, Insn&);
void inc(const Binding&, Insn&);
void dec(const Binding&, Insn&);
void neg(const Binding&, Insn&);
void not_(const Binding&, Insn&);
// multiply.cpp
void mul(const Binding&, Insn&);
void imul(const Binding&, Insn&);
void div(const Binding&, Insn&);
void idiv(const Binding&, Insn&);
// shift.cpp
void shl(const Binding&, Insn&);
void shr(const Binding&, Insn&);
void sar(const Binding&, Insn&);
void rol(const Binding&, Insn&);
void ror(const Binding&, Insn&);
void rcl(const Binding&, Insn&);
void rcr(const Binding&, Insn&);
void shld(const Binding&, Insn&);
void shrd(const Binding&, Insn&);
// bit.cpp
void bt(const Binding&, Insn&);
void bts(const Binding&, Insn&);
void btr(const Binding&, Insn&);
void btc(const Binding&, Insn&);
void bsf(const Binding&, Insn&);
void bsr(const Binding&, Insn&);
void bswap(const Binding&, Insn&);
// move.cpp
void mov(const Binding&, Insn&);
void movzx(const Binding&, Insn&);
void movsx(const Binding&, Insn&);
void lea(const Binding&, Insn&);
void xchg(const Binding&, Insn&);
void cmov(const Binding&, Insn&);
void setcc(const Binding&, Insn&);
void convert(const Binding&, Insn&);  // CBW CWDE CDQE CWD CDQ CQO
void xlat(const Binding&, Insn&);
void flag_bit(const Binding&, Insn&);  // CLC STC CMC CLD STD LAHF SAHF SALC
void nop(const Binding&, Insn&);
// atomic.cpp
void cmpxchg(const Binding&, Insn&);
void cmpxchg8b(const Binding&, Insn&);
void cmpxchg16b(const Binding&, Insn&);
void xadd(const Binding&, Insn&);
// stack_ops.cpp
void push(const Binding&, Insn&);
void pop(const Binding&, Insn&);
void push_all(const Binding&, Insn&);
void pop_all(const Binding&, Insn&);
void push_flags(const Binding&, Insn&);
void pop_flags(const Binding&, Insn&);
void enter(const Binding&, Insn&);
void leave(const Binding&, Insn&);
// branch.cpp
void jmp(const Binding&, Insn&);
void jcc(const Binding&, Insn&);
void call(const Binding&, Insn&);
void ret(const Binding&, Insn&);
void loop(const Binding&, Insn&);
void jcxz(const Binding&, Insn&);
// string.cpp
void string(const Binding&, Insn&);
void port_string(const Binding&, Insn&);
// bcd.cpp
void bcd(const Binding&, Insn&);
void bound(const Binding&, Insn&);
void arpl(const Binding&, Insn&);
// far.cpp
void far_pointer(const Binding&, Insn&);  // LDS LES LFS LGS LSS
void far_return(const Binding&, Insn&);
void interrupt_return(const Binding&, Insn&);
void software_interrupt(const Binding&, Insn&);
void system_call(const Binding&, Insn&);  // SYSCALL SYSRET SYSENTER SYSEXIT
void far_branch(const Binding&, Insn&);   // far forms of JMP and CALL, from jmp() and call()
// system_ops.cpp
void hlt(const Binding&, Insn&);
void interrupt_flag(const Binding&, Insn&);       // CLI STI
void descriptor_table(const Binding&, Insn&);     // LGDT LIDT SGDT SIDT
void system_selector(const Binding&, Insn&);      // LLDT LTR SLDT STR
void selector_query(const Binding&, Insn&);       // LAR LSL VERR VERW
void machine_status(const Binding&, Insn&);       // SMSW LMSW CLTS
void control_register(const Binding&, Insn&);     // MOV CRn/DRn, from mov()
void tlb(const Binding&, Insn&);                  // INVLPG INVPCID
void cache(const Binding&, Insn&);                // INVD WBINVD
void msr(const Binding&, Insn&);                  // RDMSR WRMSR
void tsc(const Binding&, Insn&);                  // RDTSC RDTSCP RDPID
void performance_counter(const Binding&, Insn&);  // RDPMC
void cpuid(const Binding&, Insn&);
void xcr(const Binding&, Insn&);            // XGETBV XSETBV
void base_register(const Binding&, Insn&);  // SWAPGS RDFSBASE WRFSBASE RDGSBASE WRGSBASE
void access_flag(const Binding&, Insn&);    // CLAC STAC
void port(const Binding&, Insn&);           // IN OUT
void pause(const Binding&, Insn&);
void undefined(const Binding&, Insn&);
}  // namespace bind

}  // namespace vellum::interp
