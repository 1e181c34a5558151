#include "cpu/bt/form.hpp"

#include "cpu/interp/binding.hpp"

namespace vellum::bt {
namespace {

using namespace x86::rflags;

struct Row {
  ZydisMnemonic mnemonic;
  asmjit::InstId host;
  u64 reads;
  u64 writes;
  u64 clobbers;
};

constexpr u64 kMost = kArithmetic & ~kCf;
constexpr u64 kCarryOverflow = kCf | kOf;

// Of the flags that an instruction leaves undefined some processors write none: they count as read, so that
// the guest's are there, and as written (alu.hpp has the same rule).
#define ROW(name, id, reads, writes, clobbers) \
  { ZYDIS_MNEMONIC_##name, a::Inst::kId##id, reads, writes, clobbers }
#define CONDITION(zydis, host, flags) \
  ROW(CMOV##zydis, Cmov##host, flags, 0, 0), ROW(SET##zydis, Set##host, flags, 0, 0)
constexpr Row kRows[] = {
    ROW(MOV, Mov, 0, 0, 0),
    ROW(MOVZX, Movzx, 0, 0, 0),
    ROW(MOVSX, Movsx, 0, 0, 0),
    ROW(MOVSXD, Movsxd, 0, 0, 0),
    ROW(XCHG, Xchg, 0, 0, 0),
    ROW(BSWAP, Bswap, 0, 0, 0),
    ROW(NOT, Not, 0, 0, 0),
    ROW(ADD, Add, 0, kArithmetic, 0),
    ROW(SUB, Sub, 0, kArithmetic, 0),
    ROW(AND, And, 0, kArithmetic, 0),
    ROW(OR, Or, 0, kArithmetic, 0),
    ROW(XOR, Xor, 0, kArithmetic, 0),
    ROW(CMP, Cmp, 0, kArithmetic, 0),
    ROW(TEST, Test, 0, kArithmetic, 0),
    ROW(NEG, Neg, 0, kArithmetic, 0),
    ROW(XADD, Xadd, 0, kArithmetic, 0),
    ROW(ADC, Adc, kCf, kArithmetic, 0),
    ROW(SBB, Sbb, kCf, kArithmetic, 0),
    // The host keeps CF; to read it makes the host's flags whole again.
    ROW(INC, Inc, kCf, kMost, 0),
    ROW(DEC, Dec, kCf, kMost, 0),
    ROW(CLC, Clc, 0, kCf, 0),
    ROW(STC, Stc, 0, kCf, 0),
    ROW(CMC, Cmc, kCf, kCf, 0),
    ROW(IMUL, Imul, kArithmetic & ~kCarryOverflow, kArithmetic, 0),
    ROW(BT, Bt, 0, kCf, kMost),
    ROW(BTS, Bts, 0, kCf, kMost),
    ROW(BTR, Btr, 0, kCf, kMost),
    ROW(BTC, Btc, 0, kCf, kMost),
    ROW(BSF, Bsf, kArithmetic & ~kZf, kArithmetic, 0),
    ROW(BSR, Bsr, kArithmetic & ~kZf, kArithmetic, 0),
    ROW(SHL, Shl, 0, 0, 0),
    ROW(SHR, Shr, 0, 0, 0),
    ROW(SAR, Sar, 0, 0, 0),
    ROW(ROL, Rol, 0, 0, 0),
    ROW(ROR, Ror, 0, 0, 0),
    ROW(SHLD, Shld, 0, 0, 0),
    ROW(SHRD, Shrd, 0, 0, 0),
    CONDITION(O, o, kOf),
    CONDITION(NO, no, kOf),
    CONDITION(B, b, kCf),
    CONDITION(NB, nb, kCf),
    CONDITION(Z, z, kZf),
    CONDITION(NZ, nz, kZf),
    CONDITION(BE, be, kCf | kZf),
    CONDITION(NBE, nbe, kCf | kZf),
    CONDITION(S, s, kSf),
    CONDITION(NS, ns, kSf),
    CONDITION(P, p, kPf),
    CONDITION(NP, np, kPf),
    CONDITION(L, l, kSf | kOf),
    CONDITION(NL, nl, kSf | kOf),
    CONDITION(LE, le, kSf | kOf | kZf),
    CONDITION(NLE, nle, kSf | kOf | kZf),
};
#undef CONDITION
#undef ROW

constexpr auto make_index() {
  std::array<u8, ZYDIS_MNEMONIC_MAX_VALUE + 1> index{};
  for (u8 n = 0; n < std::size(kRows); ++n) index[kRows[n].mnemonic] = n + 1;
  return index;
}
constexpr auto kByMnemonic = make_index();

// The flags that condition `cc` (the low bits of Jcc's opcode) reads.
constexpr u64 condition_flags(unsigned cc) {
  constexpr u64 kFlags[] = {kOf, kCf, kZf, kCf | kZf, kSf, kPf, kSf | kOf, kSf | kOf | kZf};
  return kFlags[(cc & 15) >> 1];
}

// Has no host register of its own: in memory, or the second byte of one.
bool needs_scratch(ZydisRegister r) {
  if (is_high_byte(r)) return true;
  return kHostOf[x86::general_register_number(r)] == kInMemory;
}

bool is_immediate(const x86::Decoded& d, unsigned n) {
  return d.operands[n].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}
bool is_register(const x86::Decoded& d, unsigned n) {
  return d.operands[n].type == ZYDIS_OPERAND_TYPE_REGISTER;
}
bool is_memory(const x86::Decoded& d, unsigned n) {
  return d.operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY;
}

// Of a stack slot, and of an instruction pointer.
unsigned word_bits(const x86::Decoded& d) {
  return d.info.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 ? 64 : 32;
}

// VEX.W makes a general register, or what stands for it in memory, 64 bits wide in 64-bit mode only: VMOVD,
// VPINSRD, VPEXTRD, conversions, VPCMPESTRI and VPCMPESTRM. (Elsewhere it is part of the opcode.)
bool vex_w_widens(const x86::Decoded& d) {
  if (d.info.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX || d.info.raw.vex.W == 0) return false;
  switch (d.info.opcode_map) {
    case ZYDIS_OPCODE_MAP_0F:
      return d.info.opcode == 0x6e || d.info.opcode == 0x7e || (d.info.opcode & 0xf8) == 0x28;
    case ZYDIS_OPCODE_MAP_0F3A:
      return (d.info.opcode & 0xf0) == 0x10 || (d.info.opcode & 0xf0) == 0x20 ||
             (d.info.opcode & 0xfe) == 0x60;
    default:
      return false;
  }
}

// With an operand size of 16 bits a branch of 32-bit code goes to the first 64 KiB.
bool narrows_ip(const x86::Decoded& d) {
  return word_bits(d) == 32 && d.info.operand_width == 16;
}

// (Zydis's category of conditional branches has more: LOOP, JRCXZ, XBEGIN, XEND.)
bool is_jcc(const x86::Decoded& d) {
  const unsigned first = d.info.opcode & 0xf0;
  return (d.info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && first == 0x70) ||
         (d.info.opcode_map == ZYDIS_OPCODE_MAP_0F && d.info.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
          first == 0x80);
}

Form generic(const x86::Decoded& d, const Row& row) {
  Form form{.scheme = Scheme::kGeneric,
            .host = row.host,
            .reads = row.reads,
            .writes = row.writes,
            .clobbers = row.clobbers};
  return plain_operands(d, form) ? form : Form{};
}

// Shifts and rotates, which change no flag where the count is 0.
Form shift(const x86::Decoded& d, const Row& row) {
  Form form = generic(d, row);
  if (form.scheme == Scheme::kCallOut) return form;
  form.reads = form.writes = kArithmetic;
  form.byte_immediate = true;
  return form;
}

Form multiply(const x86::Decoded& d) {
  Form form{.scheme = Scheme::kMultiply, .reads = kArithmetic & ~kCarryOverflow, .writes = kArithmetic};
  if (d.info.operand_width < 32 || !plain_operands(d, form)) return {};
  return form;
}

Form bit_test(const x86::Decoded& d, const Row& row) {
  // A register's bit offset reaches beyond the memory operand.
  Form form = generic(d, row);
  if (form.scheme == Scheme::kGeneric && is_memory(d, 0) && !is_immediate(d, 1))
    form.scheme = d.operands[0].size == 16 ? Scheme::kCallOut : Scheme::kBitInMemory;
  form.byte_immediate = true;
  if (form.scheme == Scheme::kGeneric && form.memory < 0) {
    form.reads = kMost;
    form.writes = kArithmetic;
    form.clobbers = 0;
  }
  return form;
}

Form stack(const x86::Decoded& d, Scheme scheme) {
  if (d.info.operand_width != word_bits(d)) return {};
  Form form{.scheme = scheme, .memory_written = scheme == Scheme::kPush};
  if (scheme == Scheme::kLeave) return form;
  if (is_immediate(d, 0)) return form;
  if (scheme == Scheme::kPush && is_memory(d, 0) && d.info.address_width != 16) {
    form.scheme = Scheme::kPushMemory;
    return form;
  }
  return is_register(d, 0) && x86::is_general_register(d.operands[0].reg.value) ? form : Form{};
}

Form branch(const x86::Decoded& d, Scheme direct, Scheme indirect) {
  if (d.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || narrows_ip(d)) return {};
  if (is_immediate(d, 0)) return {.scheme = direct, .observable = direct == Scheme::kCall};
  Form form{.scheme = indirect};
  if (!plain_operands(d, form) || d.operands[0].size != word_bits(d)) return {};
  form.observable = true;
  return form;
}

// The quotient of 8 and 16 bits is rare.
Form divide(const x86::Decoded& d) {
  Form form{.scheme = Scheme::kDivide};
  if (d.info.operand_width < 32 || !plain_operands(d, form)) return {};
  form.observable = true;
  return form;
}

}  // namespace

bool plain_operands(const x86::Decoded& d, Form& form) {
  unsigned scratch_needed = 0;
  for (unsigned n = 0; n < d.info.operand_count_visible; ++n) {
    const ZydisDecodedOperand& o = d.operands[n];
    if (o.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      if (!x86::is_general_register(o.reg.value)) return false;
      scratch_needed += needs_scratch(o.reg.value) ? 1 : 0;
    } else if (o.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      if (form.memory >= 0 || d.info.address_width == 16) return false;
      form.memory = static_cast<int>(n);
      form.memory_written = (o.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    } else if (o.type != ZYDIS_OPERAND_TYPE_IMMEDIATE) {
      return false;
    }
  }
  const unsigned scratch = form.memory < 0 ? 3 : form.memory_written ? 1 : 2;
  form.observable = form.memory >= 0;
  form.borrowed = static_cast<u8>(scratch_needed);
  return scratch_needed <= scratch;
}

void narrow_form(const x86::Decoded& d, Form& form) {
  switch (form.scheme) {
    case Scheme::kPushFlags:
    case Scheme::kPopFlags:
    case Scheme::kExchangePairs:
    case Scheme::kPrivilege:
    case Scheme::kSystemCall:
      form = {};
      return;
    case Scheme::kSystem:
      // MOV from a control register moves half of it.
      if (d.info.mnemonic == ZYDIS_MNEMONIC_MOV) form = {};
      return;
    default:
      break;
  }
  // Nothing may be written through CS.
  if (form.memory_written && form.memory >= 0 &&
      d.operands[static_cast<unsigned>(form.memory)].mem.segment == ZYDIS_REGISTER_CS)
    form = {};
  // The host's would clear all sixteen registers, not eight.
  const bool clears_all =
      d.info.mnemonic == ZYDIS_MNEMONIC_VZEROALL || d.info.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER;
  if (form.scheme == Scheme::kVector && (clears_all || vex_w_widens(d))) form = {};
}

bool is_high_byte(ZydisRegister r) {
  return r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
}

Form form_of(const x86::Decoded& d, const interp::Insn& insn, const x86::CpuModel& model, bool last) {
  if (insn.run == interp::undefined_opcode) return {};
  if (const std::optional<Form> form = system_form(d, last)) return *form;
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_ENDBR32:
      return {.scheme = Scheme::kNothing, .observable = false};
    case ZYDIS_MNEMONIC_LEA: {
      if (!x86::is_general_register(d.operands[0].reg.value) || d.info.address_width == 16) return {};
      return {.scheme = Scheme::kLea, .observable = false};
    }
    case ZYDIS_MNEMONIC_CBW:
    case ZYDIS_MNEMONIC_CWDE:
    case ZYDIS_MNEMONIC_CDQE:
    case ZYDIS_MNEMONIC_CWD:
    case ZYDIS_MNEMONIC_CDQ:
    case ZYDIS_MNEMONIC_CQO:
      return {.scheme = Scheme::kConvert, .observable = false};
    case ZYDIS_MNEMONIC_PUSH:
      return stack(d, Scheme::kPush);
    case ZYDIS_MNEMONIC_POP:
      return stack(d, Scheme::kPop);
    case ZYDIS_MNEMONIC_LEAVE:
      return stack(d, Scheme::kLeave);
    case ZYDIS_MNEMONIC_JMP:
      return branch(d, Scheme::kJump, Scheme::kJumpIndirect);
    case ZYDIS_MNEMONIC_CALL:
      return branch(d, Scheme::kCall, Scheme::kCallIndirect);
    case ZYDIS_MNEMONIC_RET:
      return d.info.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || narrows_ip(d)
                 ? Form{}
                 : Form{.scheme = Scheme::kReturn};
    case ZYDIS_MNEMONIC_MUL:
      return multiply(d);
    case ZYDIS_MNEMONIC_DIV:
    case ZYDIS_MNEMONIC_IDIV:
      return divide(d);
    case ZYDIS_MNEMONIC_CMPXCHG16B: {
      Form form{.scheme = Scheme::kExchangePairs, .writes = kZf};
      return plain_operands(d, form) ? form : Form{};
    }
    case ZYDIS_MNEMONIC_CMPXCHG: {
      Form form{.scheme = Scheme::kExchangeCompare, .writes = kArithmetic};
      // RAX is taken, so the register operand must have a host register.
      if (!plain_operands(d, form) || !is_memory(d, 0) || needs_scratch(d.operands[1].reg.value)) return {};
      return form;
    }
    default:
      break;
  }
  if (is_jcc(d) && !narrows_ip(d))
    return {.scheme = Scheme::kJumpIf, .reads = condition_flags(d.info.opcode & 15), .observable = false};
  const u8 index = kByMnemonic[d.info.mnemonic];
  if (index == 0) {
    const Form form = vector_form(d, insn);
    return form.scheme != Scheme::kCallOut ? form : native_integer_form(d, model);
  }
  const Row& row = kRows[index - 1];
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
      return shift(d, row);
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
      return bit_test(d, row);
    case ZYDIS_MNEMONIC_BSWAP:
      return d.operands[0].size == 16 ? Form{} : generic(d, row);
    case ZYDIS_MNEMONIC_IMUL:
      return d.info.operand_count_visible == 1 ? multiply(d) : generic(d, row);
    default:
      return generic(d, row);
  }
}

}  // namespace vellum::bt
