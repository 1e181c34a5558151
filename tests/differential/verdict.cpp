#include "verdict.hpp"

#include <algorithm>

namespace vellum::differential {
namespace {

constexpr unsigned kRepeats = 5;

bool is_mismatch(const Case& c, const Outcome& native, const Outcome& engine) {
  return !compare(c, native, engine).empty() && !known_difference(c, native, engine);
}

}  // namespace

std::string_view text_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kMismatch:
      return "mismatch, each time";
    case Verdict::kEngineUnsteady:
      return "the engine is not the same twice (below: first, again)";
    case Verdict::kRigUnsteady:
      return "the processor's outcome depends on the cases before (below: after them, alone)";
    case Verdict::kProcessorTookItBack:
      return "once only: run again, the processor agrees with the engine each time (below: first, again)";
  }
  return "";
}

Result<Finding> examine(std::span<const Case> batch, std::size_t index, const Outcome& native,
                        const Outcome& engine, NativeRunner& native_runner, EngineRunner& engine_runner) {
  const Case& c = batch[index];
  for (unsigned n = 0; n < kRepeats; ++n) {
    Outcome again;
    engine_runner.run(c, again);
    if (auto differences = compare(c, engine, again); !differences.empty())
      return Finding{Verdict::kEngineUnsteady, std::move(differences)};
  }
  Outcome alone;
  unsigned agreed = 0;
  for (unsigned n = 0; n < kRepeats; ++n) {
    Outcome again;
    VELLUM_TRY(native_runner.run({&c, 1}, {&again, 1}));
    if (is_mismatch(c, again, engine)) continue;
    alone = again;
    ++agreed;
  }
  if (agreed != kRepeats) return Finding{Verdict::kMismatch, compare(c, native, engine)};
  // Alone it agrees. Behind the same cases as before?
  std::vector<Outcome> outcomes(index + 1);
  VELLUM_TRY(native_runner.run(batch.first(index + 1), outcomes));
  if (is_mismatch(c, outcomes[index], engine))
    return Finding{Verdict::kRigUnsteady, compare(c, outcomes[index], alone)};
  return Finding{Verdict::kProcessorTookItBack, compare(c, native, alone)};
}

}  // namespace vellum::differential
