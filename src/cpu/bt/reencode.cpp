// Opcode, mandatory prefix, W, L and immediate stay; other prefixes go; ModRM, SIB, displacement and the
// register fields' high bits are written anew (SDM vol. 2A ch. 2).
#include "cpu/bt/reencode.hpp"

#include "base/assert.hpp"

namespace vellum::bt {
namespace {

constexpr unsigned kNeedsSib = 4, kNoBase = 5;  // in ModRM.rm and SIB: RSP and R12; RBP and R13 with mod 0

struct Fields {
  unsigned reg = 0, rm = 0, index = 0, vvvv = 0;  // with their fourth bits
  int is4 = -1;
};

class Writer {
 public:
  Writer(const x86::Decoded& decoded, const Fields& fields, const a::Mem* memory)
      : decoded_(decoded), info_(decoded.info), f_(fields), memory_(memory) {}

  HostInsn write() {
    if (memory_ != nullptr && memory_->hasSegment())
      put(memory_->segmentId() == a::SReg::kIdGs ? 0x65u : 0x64u);
    if (info_.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
      vex_head();
    else
      legacy_head();
    put(info_.opcode);
    if ((info_.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0) modrm();
    for (const auto& imm : info_.raw.imm) {
      for (unsigned n = 0; n < imm.size / 8; ++n) {
        const u8 byte = decoded_.bytes[imm.offset + n];
        put(f_.is4 >= 0 ? (byte & 0xfu) | static_cast<unsigned>(f_.is4) << 4 : byte);
      }
    }
    return out_;
  }

 private:
  void put(unsigned byte) { out_.bytes[out_.size++] = static_cast<u8>(byte); }

  void legacy_head() {
    for (unsigned n = 0; n < info_.raw.prefix_count; ++n)
      if (info_.raw.prefixes[n].type == ZYDIS_PREFIX_TYPE_MANDATORY) put(info_.raw.prefixes[n].value);
    const bool w = (info_.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && info_.raw.rex.W != 0;
    const unsigned rex = 0x40u | (w ? 8u : 0u) | (f_.reg & 8) >> 1 | (f_.index & 8) >> 2 | f_.rm >> 3;
    if (rex != 0x40) put(rex);
    if (info_.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT) put(0x0f);
    if (info_.opcode_map == ZYDIS_OPCODE_MAP_0F38) put(0x38);
    if (info_.opcode_map == ZYDIS_OPCODE_MAP_0F3A) put(0x3a);
  }

  void vex_head() {
    const auto& vex = info_.raw.vex;
    const unsigned r = f_.reg < 8 ? 0x80u : 0u;
    const unsigned last = (~f_.vvvv & 0xf) << 3 | (vex.L != 0 ? 4u : 0u) | vex.pp;
    if (f_.rm < 8 && f_.index < 8 && vex.W == 0 && vex.m_mmmm == 1) {
      put(0xc5);
      put(r | last);
      return;
    }
    put(0xc4);
    put(r | (f_.index < 8 ? 0x40u : 0u) | (f_.rm < 8 ? 0x20u : 0u) | vex.m_mmmm);
    put((vex.W != 0 ? 0x80u : 0u) | last);
  }

  void modrm() {
    const unsigned reg = (f_.reg & 7) << 3;
    if (memory_ == nullptr) {
      put(0xc0u | reg | (f_.rm & 7));
      return;
    }
    const i32 disp = memory_->offsetLo32();
    const bool none = disp == 0 && (f_.rm & 7) != kNoBase;
    const bool narrow = disp == static_cast<i8>(disp);
    const unsigned mod = none ? 0x00u : narrow ? 0x40u : 0x80u;
    if (memory_->hasIndex()) {
      put(mod | reg | kNeedsSib);
      put(memory_->shift() << 6 | (f_.index & 7) << 3 | (f_.rm & 7));
    } else {
      put(mod | reg | (f_.rm & 7));
      if ((f_.rm & 7) == kNeedsSib) put(0x24);  // no index
    }
    for (unsigned n = 0; n < (none ? 0u : narrow ? 1u : 4u); ++n)
      put(static_cast<u32>(disp) >> (8 * n) & 0xff);
  }

  const x86::Decoded& decoded_;
  const ZydisDecodedInstruction& info_;
  const Fields& f_;
  const a::Mem* memory_;
  HostInsn out_;
};

bool is_gpr(ZydisRegister r) {
  const ZydisRegisterClass c = ZydisRegisterGetClass(r);
  return c == ZYDIS_REGCLASS_GPR8 || c == ZYDIS_REGCLASS_GPR16 || c == ZYDIS_REGCLASS_GPR32 ||
         c == ZYDIS_REGCLASS_GPR64;
}

}  // namespace

HostInsn reencode(const x86::Decoded& decoded, std::optional<unsigned> gpr, const a::Mem* memory) {
  Fields f;
  bool reg_used = false, rm_used = false;
  for (unsigned n = 0; n < decoded.info.operand_count; ++n) {
    const ZydisDecodedOperand& o = decoded.operands[n];
    unsigned number = 0;
    if (o.type == ZYDIS_OPERAND_TYPE_REGISTER && is_gpr(o.reg.value))
      number = gpr.value_or(0);
    else if (o.type == ZYDIS_OPERAND_TYPE_REGISTER)
      number = static_cast<unsigned>(ZydisRegisterGetId(o.reg.value));
    switch (o.encoding) {
      case ZYDIS_OPERAND_ENCODING_MODRM_REG:
        f.reg = number;
        reg_used = true;
        break;
      case ZYDIS_OPERAND_ENCODING_MODRM_RM:
        f.rm = number;
        rm_used = true;
        break;
      case ZYDIS_OPERAND_ENCODING_NDSNDD:
        f.vvvv = number;
        break;
      case ZYDIS_OPERAND_ENCODING_IS4:
        f.is4 = static_cast<int>(number);
        break;
      default:
        break;
    }
  }
  // A field that no operand stands in extends the opcode.
  if (!reg_used) f.reg = decoded.info.raw.modrm.reg;
  if (!rm_used) f.rm = decoded.info.raw.modrm.rm;
  if (memory != nullptr) {
    VELLUM_ASSERT(memory->hasBaseReg(), "a memory operand without a base register");
    f.rm = memory->baseId();
    if (memory->hasIndex()) f.index = memory->indexId();
  }
  return Writer(decoded, f, memory).write();
}

}  // namespace vellum::bt
