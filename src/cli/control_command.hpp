// The commands that talk to a running machine, at the socket of its --control: a table, from which come
// parsing, help and completion.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace vellum::cli {

struct ControlOptions {
  std::string command;
  std::string socket;
  std::vector<std::string> arguments;  ///< after the socket; as many as the table says
  std::vector<std::string> flags;      ///< "--force"
  bool has(std::string_view flag) const { return std::ranges::find(flags, flag) != flags.end(); }
};

struct ControlArgument {
  std::string name;  ///< "FILE" completes file names
  std::string help;
  bool required = true;
};

struct ControlFlag {
  std::string name, help;  ///< "--force"
};

struct ControlRow {
  std::string name, help;
  std::vector<ControlArgument> arguments;  ///< after the socket
  std::vector<ControlFlag> flags;
  std::string footer;
  Result<> (*run)(const ControlOptions& options);
};

std::span<const ControlRow> control_table();

/// Returns the exit status: 0 done, 2 the machine is not there or refused, 10 the host failed.
int control_command(const ControlOptions& options);

}  // namespace vellum::cli
