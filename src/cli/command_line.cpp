#include "cli/command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <deque>

#include "cli/completion.hpp"
#include "cli/disk_option.hpp"
#include "cli/one_line.hpp"
#include "cli/size.hpp"
#include "cli/suggest.hpp"

namespace vellum::cli {
namespace {

constexpr const char* kRunFooter = R"(
An argument that is no option is a disk, as with --disk, and the first to be booted.

Examples:
  A disk image, through its own boot loader:
    vellum run debian.qcow2 --memory 1G
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

constexpr const char* kDiffFooter = R"(
Boots the guest on both engines under the virtual clock, compares every register, device and the console's output at
each interval and all of RAM now and then, and on a difference runs again to the first instruction after which they
differ. Nothing reaches the guest's console from outside.

  vellum diff --engine interp --engine interp --kernel vmlinuz --append 'console=ttyS0 panic=-1' --limit 200000000

Exit status: 0 no divergence; 1 a divergence, printed; 2 bad command line or input file.)";

constexpr const char* kDoctorFooter = R"(
Says what this host offers a virtual machine: engines, memory, disk and network facilities, processor features, and what
to do about what it lacks. Nothing is changed.

Exit status: 0 Vellum can run here; 1 it cannot; 2 bad command line.)";

constexpr const char* kTopFooter = R"(
'vellum run --help' lists the options and has examples; 'vellum completion bash|zsh|fish' prints a completion script.)";

struct RawOption {
  std::vector<std::string> values;  ///< in the order given; of most options the last one counts
  bool flag = false;
  CLI::Option* option = nullptr;
};

Result<> apply_given(const OptionRow& row, const RawOption& raw, RunOptions& options) {
  if (raw.flag) return apply_option(row, "", options);
  for (const std::string& value : raw.values) VELLUM_TRY(apply_option(row, value, options));
  return {};
}

// What CLI11 did not recognise, as one line.
Error unknown_argument(const std::string& argument, const std::vector<std::string>& known, const char* help) {
  const std::string name = argument.substr(0, argument.find('='));
  const char* kind = argument.starts_with('-') ? "option" : "argument";
  const auto meant = suggest(name, known);
  return {ErrorCode::kInvalidArgument,
          meant ? fmt::format("unknown {} '{}'; did you mean '{}'?", kind, name, *meant)
                : fmt::format("unknown {} '{}'; '{}' lists what there is", kind, name, help)};
}

std::vector<std::string> option_names(std::span<const OptionRow> table) {
  std::vector<std::string> names{"--help"};
  for (const OptionRow& row : table) names.push_back(row.name);
  return names;
}

// Tells CLI11 of a table; what it finds is in the result, in the table's order, which must not move.
void add_options(CLI::App& command, std::span<const OptionRow> table, std::vector<RawOption>& raw) {
  raw.resize(table.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    const OptionRow& row = table[i];
    std::string help = row.help;
    if (!row.choices.empty()) help += "\none of " + CLI::detail::join(row.choices, ", ");
    raw[i].option = row.value.empty() ? command.add_flag(row.name, raw[i].flag, help)->disable_flag_override()
                                      : command.add_option(row.name, raw[i].values, help)
                                            ->type_name(row.value)
                                            ->allow_extra_args(false);
    raw[i].option->group(row.group);
  }
}

Result<Command> interpret_run(const CLI::App& run, const std::vector<RawOption>& raw) {
  RunOptions options;
  const auto table = run_option_table();
  const auto extras = run.remaining();
  for (const std::string& extra : extras)
    if (extra.starts_with('-'))
      return tl::unexpected(unknown_argument(extra, option_names(table), "vellum run --help"));
  // What is no option is a disk; before those of --disk, so that it is what is booted.
  for (const std::string& extra : extras)
    VELLUM_TRY_ASSIGN_TO(options.machine.disks.emplace_back(), parse_disk(extra));
  for (std::size_t i = 0; i < table.size(); ++i) VELLUM_TRY(apply_given(table[i], raw[i], options));
  if (!options.bt_options.empty() && options.machine.engine != "bt")
    return fail(ErrorCode::kInvalidArgument, "--bt '{}': the translator is not chosen; add --engine bt",
                options.bt_options);
  VELLUM_TRY(check_config(options.machine));
  return options;
}

Result<Command> interpret_doctor(const CLI::App& doctor, const std::vector<RawOption>& raw) {
  const auto table = doctor_option_table();
  if (const auto extras = doctor.remaining(); !extras.empty())
    return tl::unexpected(unknown_argument(extras.front(), option_names(table), "vellum doctor --help"));
  RunOptions shared;
  DoctorOptions options;
  for (std::size_t i = 0; i < table.size(); ++i) {
    VELLUM_TRY(apply_given(table[i], raw[i], shared));
    if (table[i].name == "--json") options.json = raw[i].flag;
  }
  options.kvm_patience = shared.machine.kvm_patience;
  return options;
}

Result<u64> parse_positive(const char* option, const std::string& text) {
  auto value = parse_count(text, 1, ~u64{0});
  if (!value) return fail(ErrorCode::kInvalidArgument, "{} {}", option, value.error().message);
  return *value;
}

Result<Command> interpret_diff(const CLI::App& diff, const std::vector<RawOption>& raw) {
  const auto table = diff_option_table();
  if (const auto extras = diff.remaining(); !extras.empty())
    return tl::unexpected(unknown_argument(extras.front(), option_names(table), "vellum diff --help"));
  RunOptions shared;
  DiffOptions options;
  std::vector<std::string> engines;
  for (std::size_t i = 0; i < table.size(); ++i) {
    VELLUM_TRY(apply_given(table[i], raw[i], shared));
    const std::string& name = table[i].name;
    if (name == "--engine") engines = raw[i].values;
    if (raw[i].values.empty()) continue;
    const std::string& last = raw[i].values.back();
    if (name == "--interval")
      VELLUM_TRY_ASSIGN_TO(options.request.interval, parse_positive("--interval", last));
    if (name == "--limit") VELLUM_TRY_ASSIGN_TO(options.request.limit, parse_positive("--limit", last));
    if (name == "--inject") VELLUM_TRY_ASSIGN_TO(options.request.inject_at, parse_positive("--inject", last));
  }
  if (engines.size() != 2)
    return fail(ErrorCode::kInvalidArgument,
                "diff compares two engines: give --engine twice, as in --engine interp --engine interp");
  VELLUM_TRY(check_config(shared.machine));
  options.log_level = shared.log_level;
  options.request.machine = shared.machine;
  options.request.engine_a = engines[0];
  options.request.engine_b = engines[1];
  return options;
}

// A command to a running machine, and its words: the socket, then the row's arguments.
struct RawControl {
  const ControlRow* row;
  CLI::App* command;
  std::vector<std::string> words, flags;
};

void add_control(CLI::App& app, const ControlRow& row, std::deque<RawControl>& controls) {
  CLI::App* const command = app.add_subcommand(row.name, row.help);
  controls.push_back({&row, command, {}, {}});
  command->allow_extras();
  command->footer(row.footer);
  const auto add = [raw = &controls.back(), command](const std::string& name, const std::string& text,
                                                     bool required) {
    const auto keep = [raw](const CLI::results_t& given) {
      raw->words.push_back(given.front());
      return true;
    };
    command->add_option(name, keep, text)->type_name("")->required(required);
  };
  add("SOCKET", "the machine's: what its --control was given", true);
  for (const ControlArgument& argument : row.arguments) add(argument.name, argument.help, argument.required);
  for (const ControlFlag& flag : row.flags)
    command
        ->add_flag_callback(
            flag.name, [raw = &controls.back(), name = flag.name] { raw->flags.push_back(name); }, flag.help)
        ->disable_flag_override();
}

Result<Command> interpret_control(const RawControl& raw) {
  const ControlRow& row = *raw.row;
  const auto extras = raw.command->remaining();
  const std::string help = fmt::format("vellum {} --help", row.name);
  std::vector<std::string> options{"--help"};
  for (const ControlFlag& flag : row.flags) options.push_back(flag.name);
  for (const std::string& extra : extras)
    if (extra.starts_with('-')) return tl::unexpected(unknown_argument(extra, options, help.c_str()));
  std::string usage = fmt::format("vellum {} SOCKET", row.name);
  std::size_t needed = 1;
  for (const ControlArgument& argument : row.arguments) {
    usage += argument.required ? " " + argument.name : fmt::format(" [{}]", argument.name);
    if (argument.required) ++needed;
  }
  if (raw.words.size() < needed || !extras.empty())
    return fail(ErrorCode::kInvalidArgument,
                "too {} words: it is '{}', with the socket of the machine's --control",
                extras.empty() ? "few" : "many", usage);
  return ControlOptions{row.name, raw.words.front(), {raw.words.begin() + 1, raw.words.end()}, raw.flags};
}

std::vector<std::string> first_words() {
  std::vector<std::string> words{"run", "diff", "doctor", "completion", "--help", "--version"};
  for (const ControlRow& row : control_table()) words.push_back(row.name);
  return words;
}

// CLI11 says "--memory: 1 required SIZE missing", and "rng was given a disallowed flag override".
Error wrong_value(const std::string& message) {
  std::string name = message.substr(0, message.find_first_of(": "));
  if (!name.starts_with('-')) name = "--" + name;
  for (const auto table : {run_option_table(), diff_option_table(), doctor_option_table()})
    for (const OptionRow& row : table) {
      if (row.name != name) continue;
      const auto text = row.value.empty() ? fmt::format("{} takes no value", name)
                                          : fmt::format("{} needs a value: {} {}", name, name, row.value);
      return {ErrorCode::kInvalidArgument, text};
    }
  for (const ControlRow& row : control_table())
    if (std::ranges::find(row.flags, name, &ControlFlag::name) != row.flags.end())
      return {ErrorCode::kInvalidArgument, fmt::format("{} takes no value", name)};
  return {ErrorCode::kInvalidArgument, message};
}

}  // namespace

namespace {

Result<Command> parse(std::span<const std::string> arguments) {
  CLI::App app("Vellum, a virtual machine monitor for x86-64 Linux hosts", "vellum");
  app.footer(kTopFooter);
  app.set_version_flag("--version", "vellum " VELLUM_VERSION, "print the version and exit");
  app.set_help_flag("-h,--help", "print this help and exit");
  app.allow_extras();
  app.get_formatter()->column_width(26);

  CLI::App* run = app.add_subcommand("run", "boot a guest; its console is this terminal");
  run->allow_extras();
  run->footer(kRunFooter);
  std::vector<RawOption> raw_run;
  add_options(*run, run_option_table(), raw_run);

  CLI::App* diff = app.add_subcommand("diff", "boot a guest on two engines in lockstep and compare them");
  diff->allow_extras();
  diff->footer(kDiffFooter);
  std::vector<RawOption> raw_diff;
  add_options(*diff, diff_option_table(), raw_diff);

  CLI::App* doctor =
      app.add_subcommand("doctor", "say what this host offers, and what to do about what it lacks");
  doctor->allow_extras();
  doctor->footer(kDoctorFooter);
  std::vector<RawOption> raw_doctor;
  add_options(*doctor, doctor_option_table(), raw_doctor);

  std::deque<RawControl> controls;
  for (const ControlRow& row : control_table()) add_control(app, row, controls);

  CLI::App* completion =
      app.add_subcommand("completion", "print a shell's completion script: bash, zsh or fish");
  std::string shell;
  completion->add_option("SHELL", shell, "bash, zsh or fish")->type_name("");

  try {
    std::vector<std::string> reversed(arguments.rbegin(), arguments.rend());  // as CLI11 wants them
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return PrintText{app.help()};
  } catch (const CLI::CallForVersion& version) {
    return PrintText{std::string(version.what()) + "\n"};
  } catch (const CLI::ArgumentMismatch& error) {
    return tl::unexpected(wrong_value(error.what()));
  } catch (const CLI::RequiredError&) {
    // It is said below, which words there are.
  } catch (const CLI::ParseError& error) {
    std::string text = error.what();
    std::ranges::replace(text, '\n', ' ');
    return tl::unexpected(Error{ErrorCode::kInvalidArgument, std::move(text)});
  }

  if (run->parsed()) return interpret_run(*run, raw_run);
  if (diff->parsed()) return interpret_diff(*diff, raw_diff);
  if (doctor->parsed()) return interpret_doctor(*doctor, raw_doctor);
  for (const RawControl& raw : controls)
    if (raw.command->parsed()) return interpret_control(raw);
  if (completion->parsed()) {
    if (shell.empty())
      return fail(ErrorCode::kInvalidArgument, "completion: for which shell? There are bash, zsh and fish");
    VELLUM_TRY_ASSIGN(text, completion_script(shell));
    return PrintText{std::move(text)};
  }
  if (const auto extras = app.remaining(); !extras.empty())
    return tl::unexpected(unknown_argument(extras.front(), first_words(), "vellum --help"));
  return fail(ErrorCode::kInvalidArgument,
              "what to do? 'vellum run FILE' boots a disk image, 'vellum run --kernel FILE' a kernel; see "
              "'vellum --help'");
}

}  // namespace

Result<Command> parse_command_line(std::span<const std::string> arguments) {
  auto command = parse(arguments);
  if (!command) command.error().message = one_line(command.error().message);
  return command;
}

}  // namespace vellum::cli
