// Re-encoding: the guest's bytes with other register and memory operands (SDM vol. 2A ch. 2). The opcode,
// mandatory prefix, W, L and immediate stay; segment and address-size prefixes go; every register field is
// written anew from the decoded operands, so that 16- and 32-bit code (which has no REX, and where VEX's high
// register bits are ignored) comes out as its equal in 64-bit mode.
#include "base/assert.hpp"
#include "cpu/interp/native/thunk.hpp"

namespace vellum::interp::native {
namespace {

constexpr u8 kMemoryRm = 6;  // mod 00, rm 110: [rsi]

struct Fields {
  u8 reg = 0, rm = 0, vvvv = 0, is4 = 0;
  bool memory = false, has_is4 = false;
};

u8 number_of(ZydisRegister r) {
  if (x86::is_general_register(r)) r = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
  return static_cast<u8>(ZydisRegisterGetId(r));
}

// W chooses between a 32- and a 64-bit general register; outside 64-bit mode it is ignored for these.
bool w_is_operand_size(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTSS2SI:
    case ZYDIS_MNEMONIC_VCVTSD2SI:
    case ZYDIS_MNEMONIC_VCVTTSS2SI:
    case ZYDIS_MNEMONIC_VCVTTSD2SI:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VPCMPESTRI:  // the width of the lengths in rAX and rDX
    case ZYDIS_MNEMONIC_VPCMPESTRM:
      return true;
    default:
      return false;
  }
}

void note_register(const ZydisDecodedOperand& operand, ThunkSpec& spec) {
  const ZydisRegister r = operand.reg.value;
  const bool read = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
  const bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  const bool named = operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT;
  const u8 n = number_of(r);
  switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_XMM:
      // A legacy SSE instruction keeps what it does not write of its destination, so that comes in too.
      if (read || !spec.vex) spec.load_xmm |= static_cast<u16>(1 << n);
      if (written) spec.store |= static_cast<u16>(1 << n);
      break;
    case ZYDIS_REGCLASS_YMM:
      if (read) spec.load_ymm |= static_cast<u16>(1 << n);
      if (written) spec.store |= static_cast<u16>(1 << n);
      break;
    case ZYDIS_REGCLASS_MMX:
    case ZYDIS_REGCLASS_X87:
      spec.whole_x87 = true;
      break;
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      if (named) {
        VELLUM_ASSERT(!(spec.load_named || spec.store_named),
                      "two general registers in a vector instruction");
        spec.named_gpr = n;
        spec.load_named = read;
        spec.store_named = written;
      } else {
        if (read) spec.load_gpr |= static_cast<u8>(1 << n);
        if (written) spec.store_gpr |= static_cast<u8>(1 << n);
      }
      break;
    default:
      break;  // MXCSR, the x87 status word, RFLAGS: not by operand
  }
}

void place(const ZydisDecodedOperand& operand, Fields& fields) {
  const u8 n = operand.type == ZYDIS_OPERAND_TYPE_REGISTER && !x86::is_general_register(operand.reg.value)
                   ? number_of(operand.reg.value)
                   : u8{0};  // rax
  switch (operand.encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG:
      fields.reg = n;
      break;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM:
      if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
        fields.memory = true;
        fields.rm = kMemoryRm;
      } else {
        fields.rm = n;
      }
      break;
    case ZYDIS_OPERAND_ENCODING_NDSNDD:
      fields.vvvv = n;
      break;
    case ZYDIS_OPERAND_ENCODING_IS4:
      fields.is4 = n;
      fields.has_is4 = true;
      break;
    default:
      break;
  }
}

class Bytes {
 public:
  explicit Bytes(ThunkSpec& spec) : spec_(spec) {}
  void put(unsigned byte) { spec_.code[spec_.code_size++] = static_cast<u8>(byte); }

 private:
  ThunkSpec& spec_;
};

void put_legacy_head(const ZydisDecodedInstruction& info, const Fields& fields, Bytes& out) {
  for (unsigned n = 0; n < info.raw.prefix_count; ++n) {
    const auto& prefix = info.raw.prefixes[n];
    if (prefix.type == ZYDIS_PREFIX_TYPE_MANDATORY) out.put(prefix.value);
  }
  const bool w = (info.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && info.raw.rex.W != 0;
  const unsigned rex = 0x40u | (w ? 8u : 0u) | (fields.reg >= 8 ? 4u : 0u) | (fields.rm >= 8 ? 1u : 0u);
  if (rex != 0x40) out.put(rex);
  switch (info.opcode_map) {
    case ZYDIS_OPCODE_MAP_0F:
      out.put(0x0f);
      break;
    case ZYDIS_OPCODE_MAP_0F38:
      out.put(0x0f), out.put(0x38);
      break;
    case ZYDIS_OPCODE_MAP_0F3A:
      out.put(0x0f), out.put(0x3a);
      break;
    default:
      break;
  }
}

void put_vex_head(const ZydisDecodedInstruction& info, const Fields& fields, bool mode_64, Bytes& out) {
  const auto& vex = info.raw.vex;
  const bool w = vex.W != 0 && (mode_64 || !w_is_operand_size(info.mnemonic));
  out.put(0xc4);
  out.put((fields.reg >= 8 ? 0u : 0x80u) | 0x40u | (fields.rm >= 8 ? 0u : 0x20u) | vex.m_mmmm);
  out.put((w ? 0x80u : 0u) | ((~fields.vvvv & 0xfu) << 3) | (vex.L != 0 ? 4u : 0u) | vex.pp);
}

void encode(const x86::Decoded& decoded, const Fields& given, bool mode_64, ThunkSpec& spec) {
  const ZydisDecodedInstruction& info = decoded.info;
  const auto& modrm = info.raw.modrm;
  const bool has_modrm = (info.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
  Bytes out(spec);
  Fields fields = given;
  // A field that no operand stands in extends the opcode (or names ST(i), which keeps its number anyway).
  bool reg_used = false, rm_used = false;
  for (unsigned n = 0; n < info.operand_count; ++n) {
    const auto encoding = decoded.operands[n].encoding;
    reg_used |= encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
    rm_used |= encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
  }
  if (!reg_used) fields.reg = modrm.reg;
  if (!rm_used) fields.rm = modrm.rm;
  if (spec.vex) {
    put_vex_head(info, fields, mode_64, out);
  } else {
    put_legacy_head(info, fields, out);
  }
  out.put(info.opcode);
  if (has_modrm) out.put((fields.memory ? 0u : 0xc0u) | ((fields.reg & 7u) << 3) | (fields.rm & 7u));
  for (const auto& imm : info.raw.imm) {
    for (unsigned n = 0; n < imm.size / 8; ++n) {
      const u8 byte = decoded.bytes[imm.offset + n];
      out.put(fields.has_is4 ? (byte & 0xfu) | (static_cast<unsigned>(fields.is4) << 4) : byte);
    }
  }
}

}  // namespace

ThunkSpec plan_thunk(const x86::Decoded& decoded, bool mode_64, MemoryUse& memory) {
  const ZydisDecodedInstruction& info = decoded.info;
  ThunkSpec spec;
  Fields fields;
  spec.vex = info.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;
  // EMMS names no register, and CVTPI2PS from memory none of MMX, but both change the x87 state.
  spec.whole_x87 = info.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT || info.mnemonic == ZYDIS_MNEMONIC_EMMS ||
                   info.mnemonic == ZYDIS_MNEMONIC_CVTPI2PS;
  for (unsigned n = 0; n < info.operand_count; ++n) {
    const ZydisDecodedOperand& operand = decoded.operands[n];
    if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) note_register(operand, spec);
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY &&
        operand.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
      memory.operand = &operand;
      memory.size = operand.size / 8;
      memory.read = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
      memory.written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    }
    place(operand, fields);
  }
  if (spec.whole_x87) spec.load_xmm = spec.load_ymm = spec.store = 0;
  if (info.cpu_flags != nullptr) {
    const auto& flags = *info.cpu_flags;
    spec.flags_in = flags.tested != 0;
    // Those that set any arithmetic flag (comparisons, tests, string comparisons) set or clear all six.
    if ((flags.modified | flags.set_0 | flags.set_1) != 0) spec.flags_out = x86::rflags::kArithmetic;
  }
  encode(decoded, fields, mode_64, spec);
  return spec;
}

}  // namespace vellum::interp::native
