// `vellum run`: a machine on this process's standard input and output.
#pragma once

#include "cli/options.hpp"

namespace vellum::cli {

/// Runs to the end and returns the exit status (docs/exit-status.md). Does not return when a signal ended it:
/// then the process dies of that signal. Call on the main thread before any other exists.
int run_command(const RunOptions& options);

}  // namespace vellum::cli
