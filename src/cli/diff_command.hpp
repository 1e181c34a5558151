// `vellum diff`: one guest on two engines in lockstep.
#pragma once

#include "cli/options.hpp"
#include "machine/divergence.hpp"

namespace vellum::cli {

struct DiffOptions {
  LockstepRequest request;
  spdlog::level::level_enum log_level = spdlog::level::warn;
};

/// Returns the exit status: 0 no divergence, 1 a divergence (printed on standard output), 2 could not begin.
int diff_command(const DiffOptions& options);

}  // namespace vellum::cli
