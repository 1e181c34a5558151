// Whether an engine's outcome is the processor's, and a report where it is not.
#pragma once

#include <string>
#include <vector>

#include "case.hpp"
#include "x86/decode.hpp"

namespace vellum::differential {

/// One difference: what, by the host, by the engine.
struct Difference {
  std::string what, native, engine;
};

/// Flags that the instruction leaves undefined (by the decoder's table) are not compared.
std::vector<Difference> compare(const Case& c, const Outcome& native, const Outcome& engine);

/// Whether the difference is one of those that the SDM leaves open or where the host's vendor differs from
/// it; the list stands in the .cpp, each with its reason.
bool known_difference(const Case& c, const Outcome& native, const Outcome& engine);

/// The instruction, its input, and the differences, for a person to read.
std::string report(const Case& c, const std::vector<Difference>& differences);

x86::DecodeStatus decode_case(const Case& c, x86::Decoded& decoded);

}  // namespace vellum::differential
