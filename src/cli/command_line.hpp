// From argv to what is to be done. Pure: prints nothing, opens nothing.
#pragma once

#include <span>
#include <string>
#include <variant>

#include "cli/control_command.hpp"
#include "cli/diff_command.hpp"
#include "cli/doctor_command.hpp"
#include "cli/options.hpp"

namespace vellum::cli {

/// Text for standard output, and exit status 0: --help, --version, completion scripts.
struct PrintText {
  std::string text;
};

using Command = std::variant<PrintText, RunOptions, DiffOptions, DoctorOptions, ControlOptions>;

/// `arguments` without the program's name. Errors are one line, without "vellum: ".
Result<Command> parse_command_line(std::span<const std::string> arguments);

}  // namespace vellum::cli
