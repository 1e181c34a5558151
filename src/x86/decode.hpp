// Decoding of one instruction (over Zydis), for every engine.
#pragma once

#include <Zydis/Zydis.h>

#include <array>
#include <span>
#include <string>

#include "base/int.hpp"

namespace vellum::x86 {

/// What decides how bytes are read: CS.L, CS.D, and real or virtual-8086 mode.
enum class CodeMode : u8 { kReal16, kProtected16, kProtected32, kLong64 };

enum class DecodeStatus : u8 {
  kOk,
  kInvalid,    ///< #UD: undefined opcode, or LOCK where it is not allowed
  kTooLong,    ///< #GP(0): more than 15 bytes
  kTruncated,  ///< the bytes given end before the instruction does
};

inline constexpr unsigned kMaxInstructionLength = 15;

struct Decoded {
  ZydisDecodedInstruction info;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;  ///< explicit ones first, then hidden
  std::array<u8, kMaxInstructionLength> bytes;

  unsigned length() const { return info.length; }
};

/// Decodes the instruction at the start of `bytes` (up to 15 are looked at).
DecodeStatus decode(CodeMode mode, std::span<const u8> bytes, Decoded& out);

/// AL to R15, of any size, also the second bytes.
bool is_general_register(ZydisRegister r);
/// 0 to 15, of the general register that `r` is all or a part of.
unsigned general_register_number(ZydisRegister r);

/// Intel-syntax text, for traces and reports. `address`: of the instruction, for relative operands.
std::string format_instruction(const Decoded& decoded, u64 address);

}  // namespace vellum::x86
