// Whose a mismatch is. The processor is the judge, but the rig runs it under a kernel, perhaps a hypervisor,
// and beside other load: a mismatch is run again, on both sides, before it is believed or excused.
//
// Excused is only what the processor itself takes back: the engine gave the same outcome each time, and the
// processor, asked again, agrees with it each time. All else is a mismatch, also an engine that is not the
// same twice. Nothing is passed over in silence: what is excused is printed and counted, too.
#pragma once

#include <span>

#include "compare.hpp"
#include "engine_runner.hpp"
#include "native_runner.hpp"

namespace vellum::differential {

enum class Verdict {
  kMismatch,             ///< each time
  kEngineUnsteady,       ///< the engine's outcome depends on what it ran before
  kRigUnsteady,          ///< the processor's outcome depends on what the child ran before: a leak in the rig
  kProcessorTookItBack,  ///< excused
};
std::string_view text_of(Verdict verdict);

struct Finding {
  Verdict verdict = Verdict::kMismatch;
  /// What was seen first; for the unsteady ones what differs between two runs of the same side.
  std::vector<Difference> differences;
};

/// Looks into the mismatch of `batch[index]`.
Result<Finding> examine(std::span<const Case> batch, std::size_t index, const Outcome& native,
                        const Outcome& engine, NativeRunner& native_runner, EngineRunner& engine_runner);

}  // namespace vellum::differential
