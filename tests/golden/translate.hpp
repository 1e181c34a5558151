// One guest instruction to the text of its translation.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/int.hpp"
#include "cpu/bt/options.hpp"

namespace vellum::golden {

struct Golden {
  std::string guest;              ///< the instruction, disassembled
  std::vector<std::string> host;  ///< its translation without what is out of line, an instruction a line
};

/// Whether the processor here can stand for the guest's: it must have AVX2.
bool supported();

/// Translates the instruction as the first one of a unit, in 64-bit mode at CPL 0. Addresses of the host and
/// distances to other parts of the unit, which differ from build to build, are replaced by words. Empty: it
/// is not translated.
std::optional<Golden> translate(const std::vector<u8>& instruction, bt::Options::Memory memory);

}  // namespace vellum::golden
