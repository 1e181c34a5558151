// The commands that talk to a running machine, at the socket of its --control: a table, from which come
// parsing, help and completion.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"

namespace vellum::cli {

struct ControlOptions {
  std::string command;
  std::string socket;
  std::vector<std::string> arguments;  ///< after the socket; as many as the table says
};

struct ControlArgument {
  std::string name;  ///< "FILE" completes file names
  std::string help;
  bool required = true;
};

struct ControlRow {
  std::string name, help;
  std::vector<ControlArgument> arguments;  ///< after the socket
  std::string footer;
  Result<> (*run)(const ControlOptions& options);
};

std::span<const ControlRow> control_table();

/// Returns the exit status: 0 done, 2 the machine is not there or refused, 10 the host failed.
int control_command(const ControlOptions& options);

}  // namespace vellum::cli
