#include "cli/command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "cli/completion.hpp"
#include "cli/suggest.hpp"

namespace vellum::cli {
namespace {

constexpr const char* kRunFooter = R"(
Examples:
  A shell on this terminal:
    vellum run --kernel vmlinuz --initrd initrd.img --append console=ttyS0
  Four processors, 1 GiB, and what was counted:
    vellum run --kernel vmlinuz --initrd initrd.img --append console=ttyS0 --cpus 4 --memory 1G --stats
  The same run each time, for comparing:
    vellum run --kernel vmlinuz --append 'console=ttyS0 panic=-1' --clock virtual --no-reboot </dev/null

Standard input and output are the guest's first serial port, ttyS0. On a terminal every key goes to the guest, Ctrl-C
too; Ctrl-] twice within a second leaves.

Exit status: 0 the guest powered off (or rebooted, with --no-reboot); odd: the guest's own, through --debug-exit;
2 bad command line or input file; 4 triple fault; 6 kernel panic followed by a reset (panic=-1); 8 every vCPU halted
for ever; 10 the host failed.)";

constexpr const char* kTopFooter = R"(
'vellum run --help' lists the options and has examples; 'vellum completion bash|zsh|fish' prints a completion script.)";

struct RawOption {
  std::string value;
  bool flag = false;
  CLI::Option* option = nullptr;
};

// What CLI11 did not recognise, as one line.
Error unknown_argument(const std::string& argument, const std::vector<std::string>& known, const char* help) {
  const std::string name = argument.substr(0, argument.find('='));
  const char* kind = argument.starts_with('-') ? "option" : "argument";
  const auto meant = suggest(name, known);
  return {ErrorCode::kInvalidArgument,
          meant ? fmt::format("unknown {} '{}'; did you mean '{}'?", kind, name, *meant)
                : fmt::format("unknown {} '{}'; '{}' lists what there is", kind, name, help)};
}

std::vector<std::string> run_option_names() {
  std::vector<std::string> names{"--help"};
  for (const OptionRow& row : run_option_table()) names.push_back(row.name);
  return names;
}

Result<Command> interpret_run(const CLI::App& run, const std::vector<RawOption>& raw) {
  if (const auto extras = run.remaining(); !extras.empty())
    return tl::unexpected(unknown_argument(extras.front(), run_option_names(), "vellum run --help"));
  RunOptions options;
  const auto table = run_option_table();
  for (std::size_t i = 0; i < table.size(); ++i)
    if (raw[i].option->count() > 0) VELLUM_TRY(apply_option(table[i], raw[i].value, options));
  VELLUM_TRY(check_config(options.machine));
  return options;
}

// CLI11 says "--memory: 1 required SIZE missing".
Error missing_value(const std::string& message) {
  const std::string name = message.substr(0, message.find(':'));
  for (const OptionRow& row : run_option_table())
    if (row.name == name) {
      const auto text = row.value.empty() ? fmt::format("{} takes no value", name)
                                          : fmt::format("{} needs a value: {} {}", name, name, row.value);
      return {ErrorCode::kInvalidArgument, text};
    }
  return {ErrorCode::kInvalidArgument, message};
}

}  // namespace

Result<Command> parse_command_line(std::span<const std::string> arguments) {
  CLI::App app("Vellum, a virtual machine monitor for x86-64 Linux hosts", "vellum");
  app.footer(kTopFooter);
  app.set_version_flag("--version", "vellum " VELLUM_VERSION, "print the version and exit");
  app.set_help_flag("-h,--help", "print this help and exit");
  app.allow_extras();
  app.get_formatter()->column_width(26);

  CLI::App* run = app.add_subcommand("run", "boot a guest; its console is this terminal");
  run->allow_extras();
  run->footer(kRunFooter);
  const auto table = run_option_table();
  std::vector<RawOption> raw(table.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    const OptionRow& row = table[i];
    std::string help = row.help;
    if (!row.choices.empty()) help += "\none of " + CLI::detail::join(row.choices, ", ");
    raw[i].option = row.value.empty() ? run->add_flag(row.name, raw[i].flag, help)
                                      : run->add_option(row.name, raw[i].value, help)
                                            ->type_name(row.value)
                                            ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    raw[i].option->group(row.group);
  }

  CLI::App* completion =
      app.add_subcommand("completion", "print a shell's completion script: bash, zsh or fish");
  std::string shell;
  completion->add_option("SHELL", shell, "bash, zsh or fish")->required()->type_name("");

  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return PrintText{app.help()};
  } catch (const CLI::CallForVersion& version) {
    return PrintText{std::string(version.what()) + "\n"};
  } catch (const CLI::ArgumentMismatch& error) {
    return tl::unexpected(missing_value(error.what()));
  } catch (const CLI::ParseError& error) {
    std::string text = error.what();
    std::ranges::replace(text, '\n', ' ');
    return tl::unexpected(Error{ErrorCode::kInvalidArgument, std::move(text)});
  }

  if (run->parsed()) return interpret_run(*run, raw);
  if (completion->parsed()) {
    VELLUM_TRY_ASSIGN(text, completion_script(shell));
    return PrintText{std::move(text)};
  }
  if (const auto extras = app.remaining(); !extras.empty())
    return tl::unexpected(
        unknown_argument(extras.front(), {"run", "completion", "--help", "--version"}, "vellum --help"));
  return fail(ErrorCode::kInvalidArgument,
              "what to do? 'vellum run --kernel FILE' boots a guest; see 'vellum --help'");
}

}  // namespace vellum::cli
