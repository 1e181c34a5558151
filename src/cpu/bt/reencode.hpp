// A guest's instruction for the host: the same but for its general register and its memory operand.
#pragma once

#include <optional>

#include "cpu/bt/layout.hpp"
#include "x86/decode.hpp"

namespace vellum::bt {

struct HostInsn {
  std::array<u8, 16> bytes{};
  u8 size = 0;
};

/// Of an instruction with ModRM in 64-bit mode, legacy or VEX. `gpr`: the number of the host register for its
/// one explicit general register; `memory`: the operand that takes its memory operand's place, with a base
/// register.
HostInsn reencode(const x86::Decoded& decoded, std::optional<unsigned> gpr, const a::Mem* memory);

}  // namespace vellum::bt
