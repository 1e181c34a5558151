// The options of `vellum run`, `vellum diff` and `vellum doctor`: a table each, from which come parsing,
// help, suggestions and shell completion.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "machine/config.hpp"

namespace vellum::cli {

struct RunOptions {
  MachineConfig machine;
  std::string bt_options;  ///< of --bt, as given
  std::string control;     ///< path of the socket for clients, or empty
  bool stats = false;
  spdlog::level::level_enum log_level = spdlog::level::warn;
};

struct OptionRow {
  std::string name;   ///< "--memory"
  std::string value;  ///< what its value is called, "SIZE"; "FILE" completes file names; empty: a flag
  std::string group;
  std::string help;
  std::vector<std::string> choices;  ///< the only values there are; empty: apply() judges
  /// nullptr: the command itself looks at the values.
  Result<> (*apply)(RunOptions& options, const std::string& value);
};

std::span<const OptionRow> run_option_table();
/// Those of run's that say what the guest is, but not how it is run or shown; and its own, which come last.
std::span<const OptionRow> diff_option_table();

/// Those of `vellum doctor`.
std::span<const OptionRow> doctor_option_table();

/// Checks `value` against the row's choices and applies it. Errors begin with the option: "--memory '512Q':
/// …".
Result<> apply_option(const OptionRow& row, const std::string& value, RunOptions& options);

}  // namespace vellum::cli
