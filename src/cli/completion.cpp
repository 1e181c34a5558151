#include "cli/completion.hpp"

#include <fmt/ranges.h>

#include "cli/control_command.hpp"
#include "cli/options.hpp"

namespace vellum::cli {
namespace {

struct Subcommand {
  std::string name;
  std::span<const OptionRow> options;
};

std::vector<Subcommand> subcommands() {
  return {{"run", run_option_table()}, {"diff", diff_option_table()}, {"doctor", doctor_option_table()}};
}

// @WORDS@ and @VALUES@ stand for what comes from the option tables.
constexpr std::string_view kBash = R"sh(# bash completion for vellum: eval "$(vellum completion bash)"
_vellum() {
  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}
  COMPREPLY=()
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W 'run diff doctor completion @CONTROL@ --help --version' -- "$word"))
    return
  fi
  if [ "${COMP_WORDS[1]}" = completion ]; then
    COMPREPLY=($(compgen -W 'bash zsh fish' -- "$word"))
    return
  fi
  case ${COMP_WORDS[1]},$previous in
@VALUES@  esac
  case ${COMP_WORDS[1]} in
@WORDS@  esac
}
complete -F _vellum vellum
)sh";

constexpr std::string_view kZsh = R"sh(#compdef vellum
# zsh completion for vellum: eval "$(vellum completion zsh)"
_vellum() {
  if (( CURRENT == 2 )); then
    compadd -- run diff doctor completion @CONTROL@ --help --version
    return
  fi
  if [[ ${words[2]} == completion ]]; then
    compadd bash zsh fish
    return
  fi
  (( CURRENT-- ))
  shift words
  case ${words[1]} in
@VALUES@  esac
}
compdef _vellum vellum
)sh";

constexpr std::string_view kFish = R"sh(# fish completion for vellum: vellum completion fish | source
complete -c vellum -f
complete -c vellum -n __fish_use_subcommand -a run -d 'boot a guest'
complete -c vellum -n __fish_use_subcommand -a diff -d 'compare two engines'
complete -c vellum -n __fish_use_subcommand -a doctor -d 'say what this host offers'
complete -c vellum -n __fish_use_subcommand -a completion -d 'print a completion script'
complete -c vellum -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'
@VALUES@@CONTROL@)sh";

std::string filled(std::string_view script, std::string_view mark, std::string_view text) {
  std::string out(script);
  return out.replace(out.find(mark), mark.size(), text);
}

// For within single quotes; zsh's _arguments also reads [ ] and : in descriptions.
std::string escaped(std::string_view text, std::string_view escape_too = "") {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (escape_too.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

std::string control_names() {
  std::string names;
  for (const ControlRow& row : control_table()) names += (names.empty() ? "" : " ") + row.name;
  return names;
}

// Of those commands' words one names the socket, others files: file names will do, after a dash options.
std::string bash_script() {
  std::string words, values;
  for (const ControlRow& row : control_table()) {
    words += fmt::format("    {}) if [[ $word == -* ]]; then COMPREPLY=($(compgen -W '", row.name);
    for (const ControlFlag& flag : row.flags) words += flag.name + " ";
    words +=
        "--help' -- \"$word\")); else compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\")); fi ;;\n";
  }
  for (const auto& [command, options] : subcommands()) {
    words += fmt::format("    {}) COMPREPLY=($(compgen -W '", command);
    for (const OptionRow& row : options) {
      words += row.name + " ";
      if (row.value.empty()) continue;
      const auto reply =
          row.value.starts_with("FILE")
              ? std::string("compopt -o filenames; COMPREPLY=($(compgen -f -- \"$word\"))")
              : fmt::format("COMPREPLY=($(compgen -W '{}' -- \"$word\"))", fmt::join(row.choices, " "));
      values += fmt::format("    {},{}) {}; return ;;\n", command, row.name, reply);
    }
    words += "--help' -- \"$word\")) ;;\n";
  }
  return filled(filled(filled(kBash, "@VALUES@", values), "@WORDS@", words), "@CONTROL@", control_names());
}

std::string zsh_script() {
  std::string values;
  for (const auto& [command, options] : subcommands()) {
    values += fmt::format("    {})\n      _arguments", command);
    for (const OptionRow& row : options) {
      std::string action;
      if (row.value.starts_with("FILE")) {
        action = ":file:_files";
      } else if (!row.choices.empty()) {
        action = fmt::format(":{}:({})", row.value, fmt::join(row.choices, " "));
      } else if (!row.value.empty()) {
        action = fmt::format(":{}: ", row.value);
      }
      // An option that may be given again is offered again.
      const bool again = row.name == "--initrd" || row.name == "--disk" || row.name == "--cdrom" ||
                         row.name == "--floppy" || row.name == "--net" ||
                         (row.name == "--engine" && command == "diff");
      values += fmt::format(" \\\n        '{}{}[{}]{}'", again ? "*" : "", row.name, escaped(row.help, "[]:"),
                            action);
    }
    values += " ;;\n";
  }
  for (const ControlRow& row : control_table()) {
    values += fmt::format("    {}) _arguments", row.name);
    for (const ControlFlag& flag : row.flags)
      values += fmt::format(" '{}[{}]'", flag.name, escaped(flag.help, "[]:"));
    values += " '*:file:_files' ;;\n";
  }
  return filled(filled(kZsh, "@VALUES@", values), "@CONTROL@", control_names());
}

std::string fish_script() {
  std::string values;
  for (const auto& [command, options] : subcommands()) {
    for (const OptionRow& row : options) {
      std::string action;
      if (row.value.starts_with("FILE")) {
        action = " -r -F";
      } else if (!row.value.empty()) {
        action = fmt::format(" -x -a '{}'", fmt::join(row.choices, " "));
      }
      values += fmt::format("complete -c vellum -n '__fish_seen_subcommand_from {}' -l {} -d '{}'{}\n",
                            command, row.name.substr(2), escaped(row.help), action);
    }
  }
  std::string control;
  for (const ControlRow& row : control_table()) {
    control += fmt::format(
        "complete -c vellum -n __fish_use_subcommand -a {0} -d '{1}'\n"
        "complete -c vellum -n '__fish_seen_subcommand_from {0}' -F\n",
        row.name, escaped(row.help));
    for (const ControlFlag& flag : row.flags)
      control += fmt::format("complete -c vellum -n '__fish_seen_subcommand_from {}' -l {} -d '{}'\n",
                             row.name, flag.name.substr(2), escaped(flag.help));
  }
  return filled(filled(kFish, "@VALUES@", values), "@CONTROL@", control);
}

}  // namespace

Result<std::string> completion_script(std::string_view shell) {
  if (shell == "bash") return bash_script();
  if (shell == "zsh") return zsh_script();
  if (shell == "fish") return fish_script();
  return fail(ErrorCode::kInvalidArgument, "completion '{}': unknown shell; there are bash, zsh and fish",
              shell);
}

}  // namespace vellum::cli
