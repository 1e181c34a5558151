// The table of instructions that the interpreter has handlers of its own for: one row a mnemonic. All others
// go to NativeCode (native.hpp), and what that does not know either is undefined, counted by name.
#include <array>

#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

struct Row {
  ZydisMnemonic mnemonic;
  Binder binder;
};

#define ROW(mnemonic, binder) \
  { ZYDIS_MNEMONIC_##mnemonic, &bind::binder }
constexpr Row kRows[] = {
    // clang-format off
    // Arithmetic and logic
    ROW(ADD, add), ROW(SUB, sub), ROW(ADC, adc), ROW(SBB, sbb), ROW(AND, and_), ROW(OR, or_), ROW(XOR, xor_),
    ROW(CMP, cmp), ROW(TEST, test), ROW(INC, inc), ROW(DEC, dec), ROW(NEG, neg), ROW(NOT, not_),
    ROW(MUL, mul), ROW(IMUL, imul), ROW(DIV, div), ROW(IDIV, idiv),
    ROW(SHL, shl), ROW(SHR, shr), ROW(SAR, sar), ROW(ROL, rol), ROW(ROR, ror), ROW(RCL, rcl), ROW(RCR, rcr),
    ROW(SALC, flag_bit), ROW(SHLD, shld), ROW(SHRD, shrd),
    ROW(BT, bt), ROW(BTS, bts), ROW(BTR, btr), ROW(BTC, btc), ROW(BSF, bsf), ROW(BSR, bsr), ROW(BSWAP, bswap),
    ROW(DAA, bcd), ROW(DAS, bcd), ROW(AAA, bcd), ROW(AAS, bcd), ROW(AAM, bcd), ROW(AAD, bcd),
    // Moves
    ROW(MOV, mov), ROW(MOVZX, movzx), ROW(MOVSX, movsx), ROW(MOVSXD, movsx), ROW(LEA, lea), ROW(XCHG, xchg),
    ROW(CMOVO, cmov), ROW(CMOVNO, cmov), ROW(CMOVB, cmov), ROW(CMOVNB, cmov), ROW(CMOVZ, cmov), ROW(CMOVNZ, cmov),
    ROW(CMOVBE, cmov), ROW(CMOVNBE, cmov), ROW(CMOVS, cmov), ROW(CMOVNS, cmov), ROW(CMOVP, cmov), ROW(CMOVNP, cmov),
    ROW(CMOVL, cmov), ROW(CMOVNL, cmov), ROW(CMOVLE, cmov), ROW(CMOVNLE, cmov),
    ROW(SETO, setcc), ROW(SETNO, setcc), ROW(SETB, setcc), ROW(SETNB, setcc), ROW(SETZ, setcc), ROW(SETNZ, setcc),
    ROW(SETBE, setcc), ROW(SETNBE, setcc), ROW(SETS, setcc), ROW(SETNS, setcc), ROW(SETP, setcc), ROW(SETNP, setcc),
    ROW(SETL, setcc), ROW(SETNL, setcc), ROW(SETLE, setcc), ROW(SETNLE, setcc),
    ROW(CBW, convert), ROW(CWDE, convert), ROW(CDQE, convert), ROW(CWD, convert), ROW(CDQ, convert), ROW(CQO, convert),
    ROW(XLAT, xlat), ROW(CLC, flag_bit), ROW(STC, flag_bit), ROW(CMC, flag_bit), ROW(CLD, flag_bit),
    ROW(STD, flag_bit), ROW(LAHF, flag_bit), ROW(SAHF, flag_bit), ROW(NOP, nop),
    ROW(CMPXCHG, cmpxchg), ROW(CMPXCHG8B, cmpxchg8b), ROW(CMPXCHG16B, cmpxchg16b), ROW(XADD, xadd),
    // Stack
    ROW(PUSH, push), ROW(POP, pop), ROW(PUSHA, push_all), ROW(PUSHAD, push_all), ROW(POPA, pop_all),
    ROW(POPAD, pop_all), ROW(PUSHF, push_flags), ROW(PUSHFD, push_flags), ROW(PUSHFQ, push_flags),
    ROW(POPF, pop_flags), ROW(POPFD, pop_flags), ROW(POPFQ, pop_flags), ROW(ENTER, enter), ROW(LEAVE, leave),
    // Transfers
    ROW(JMP, jmp), ROW(CALL, call), ROW(RET, ret),
    ROW(JO, jcc), ROW(JNO, jcc), ROW(JB, jcc), ROW(JNB, jcc), ROW(JZ, jcc), ROW(JNZ, jcc), ROW(JBE, jcc),
    ROW(JNBE, jcc), ROW(JS, jcc), ROW(JNS, jcc), ROW(JP, jcc), ROW(JNP, jcc), ROW(JL, jcc), ROW(JNL, jcc),
    ROW(JLE, jcc), ROW(JNLE, jcc), ROW(LOOP, loop), ROW(LOOPE, loop), ROW(LOOPNE, loop),
    ROW(JCXZ, jcxz), ROW(JECXZ, jcxz), ROW(JRCXZ, jcxz),
    ROW(IRET, interrupt_return), ROW(IRETD, interrupt_return), ROW(IRETQ, interrupt_return),
    ROW(INT, software_interrupt), ROW(INT3, software_interrupt), ROW(INTO, software_interrupt),
    ROW(INT1, software_interrupt), ROW(SYSCALL, system_call), ROW(SYSRET, system_call), ROW(SYSENTER, system_call),
    ROW(SYSEXIT, system_call), ROW(LDS, far_pointer), ROW(LES, far_pointer), ROW(LFS, far_pointer),
    ROW(LGS, far_pointer), ROW(LSS, far_pointer), ROW(BOUND, bound), ROW(ARPL, arpl),
    // Strings
    ROW(MOVSB, string), ROW(MOVSW, string), ROW(MOVSD, string), ROW(MOVSQ, string), ROW(STOSB, string),
    ROW(STOSW, string), ROW(STOSD, string), ROW(STOSQ, string), ROW(LODSB, string), ROW(LODSW, string),
    ROW(LODSD, string), ROW(LODSQ, string), ROW(SCASB, string), ROW(SCASW, string), ROW(SCASD, string),
    ROW(SCASQ, string), ROW(CMPSB, string), ROW(CMPSW, string), ROW(CMPSD, string), ROW(CMPSQ, string),
    ROW(INSB, port_string), ROW(INSW, port_string), ROW(INSD, port_string), ROW(OUTSB, port_string),
    ROW(OUTSW, port_string), ROW(OUTSD, port_string),
    // Privileged and sensitive
    ROW(HLT, hlt), ROW(CLI, interrupt_flag), ROW(STI, interrupt_flag), ROW(LGDT, descriptor_table),
    ROW(LIDT, descriptor_table), ROW(SGDT, descriptor_table), ROW(SIDT, descriptor_table),
    ROW(LLDT, system_selector), ROW(LTR, system_selector), ROW(SLDT, system_selector), ROW(STR, system_selector),
    ROW(LAR, selector_query), ROW(LSL, selector_query), ROW(VERR, selector_query), ROW(VERW, selector_query),
    ROW(SMSW, machine_status), ROW(LMSW, machine_status), ROW(CLTS, machine_status), ROW(INVLPG, tlb),
    ROW(INVPCID, tlb), ROW(INVD, cache), ROW(WBINVD, cache), ROW(RDMSR, msr), ROW(WRMSR, msr), ROW(RDTSC, tsc),
    ROW(RDTSCP, tsc), ROW(RDPID, tsc), ROW(RDPMC, performance_counter), ROW(CPUID, cpuid), ROW(XGETBV, xcr), ROW(XSETBV, xcr),
    ROW(SWAPGS, base_register), ROW(RDFSBASE, base_register), ROW(WRFSBASE, base_register),
    ROW(RDGSBASE, base_register), ROW(WRGSBASE, base_register), ROW(CLAC, access_flag), ROW(STAC, access_flag),
    ROW(IN, port), ROW(OUT, port), ROW(PAUSE, pause),
    ROW(UD0, undefined), ROW(UD1, undefined), ROW(UD2, undefined),
    // clang-format on
};
#undef ROW

constexpr auto make_index() {
  std::array<Binder, ZYDIS_MNEMONIC_MAX_VALUE + 1> index{};
  for (const Row& row : kRows) index[row.mnemonic] = row.binder;
  return index;
}
constexpr auto kByMnemonic = make_index();

}  // namespace

Binder find_binder(ZydisMnemonic mnemonic) {
  return kByMnemonic[mnemonic];
}

}  // namespace vellum::interp
