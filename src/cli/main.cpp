// vellum: see command_line.cpp for what it understands.
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "base/fd.hpp"
#include "cli/command_line.hpp"
#include "cli/run_command.hpp"

int main(int argc, char** argv) {
  vellum::reserve_standard_descriptors();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto command = vellum::cli::parse_command_line(arguments);
  if (!command) {
    fmt::print(stderr, "vellum: {}\n", command.error().message);
    return 2;
  }
  if (const auto* print = std::get_if<vellum::cli::PrintText>(&*command)) {
    if (std::fputs(print->text.c_str(), stdout) >= 0 && std::fflush(stdout) == 0) return 0;
    fmt::print(stderr, "vellum: standard output: {}\n", std::strerror(errno));
    return 10;
  }
  if (const auto* diff = std::get_if<vellum::cli::DiffOptions>(&*command))
    return vellum::cli::diff_command(*diff);
  if (const auto* doctor = std::get_if<vellum::cli::DoctorOptions>(&*command))
    return vellum::cli::doctor_command(*doctor);
  if (const auto* control = std::get_if<vellum::cli::ControlOptions>(&*command))
    return vellum::cli::control_command(*control);
  return vellum::cli::run_command(std::get<vellum::cli::RunOptions>(*command));
}
