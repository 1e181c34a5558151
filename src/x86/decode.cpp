#include "x86/decode.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace vellum::x86 {
namespace {

struct Decoders {
  std::array<ZydisDecoder, 4> by_mode;
  ZydisFormatter formatter;

  Decoders() {
    const auto init = [this](CodeMode mode, ZydisMachineMode machine, ZydisStackWidth stack) {
      const auto status = ZydisDecoderInit(&by_mode[static_cast<unsigned>(mode)], machine, stack);
      VELLUM_ASSERT(ZYAN_SUCCESS(status), "Zydis status {:#x}", status);
    };
    init(CodeMode::kReal16, ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16);
    init(CodeMode::kProtected16, ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
    init(CodeMode::kProtected32, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    init(CodeMode::kLong64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    // A guest's processor has none of these; their encodings mean something else there (NOP, LZCNT's BSR …).
    for (auto& decoder : by_mode) {
      ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
      ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
      ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
      ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
    }
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
  }
};

const Decoders& decoders() {
  static const Decoders instance;
  return instance;
}

// Zydis 4.0 takes SIB base 101b with mod 00 for R13D when REX.B and a 32-bit address size meet; it means no
// base and a 32-bit displacement (SDM vol. 2A table 2-3, note), whatever REX.B says.
void mend_sib_without_base(Decoded& out) {
  const auto& raw = out.info.raw;
  if (raw.sib.offset == 0 || raw.modrm.mod != 0 || raw.sib.base != 5) return;
  for (unsigned n = 0; n < out.info.operand_count; ++n) {
    auto& operand = out.operands[n];
    if (operand.type != ZYDIS_OPERAND_TYPE_MEMORY || operand.encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
      continue;
    operand.mem.base = ZYDIS_REGISTER_NONE;
    operand.mem.disp.has_displacement = ZYAN_TRUE;
    operand.mem.disp.value = raw.disp.value;
  }
}

}  // namespace

DecodeStatus decode(CodeMode mode, std::span<const u8> bytes, Decoded& out) {
  const auto window = bytes.first(std::min<std::size_t>(bytes.size(), kMaxInstructionLength));
  const auto status = ZydisDecoderDecodeFull(&decoders().by_mode[static_cast<unsigned>(mode)], window.data(),
                                             window.size(), &out.info, out.operands.data());
  if (ZYAN_SUCCESS(status)) {
    std::copy_n(window.begin(), out.info.length, out.bytes.begin());
    mend_sib_without_base(out);
    return DecodeStatus::kOk;
  }
  if (status == ZYDIS_STATUS_NO_MORE_DATA)
    return window.size() == kMaxInstructionLength ? DecodeStatus::kTooLong : DecodeStatus::kTruncated;
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return DecodeStatus::kTooLong;
  return DecodeStatus::kInvalid;
}

bool is_general_register(ZydisRegister r) {
  switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
      return true;
    default:
      return false;
  }
}

unsigned general_register_number(ZydisRegister r) {
  return static_cast<unsigned>(
      ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r)));
}

std::string format_instruction(const Decoded& decoded, u64 address) {
  char text[256];
  const auto status = ZydisFormatterFormatInstruction(
      &decoders().formatter, &decoded.info, decoded.operands.data(), decoded.info.operand_count_visible, text,
      sizeof text, address, nullptr);
  return ZYAN_SUCCESS(status) ? text : "?";
}

}  // namespace vellum::x86
