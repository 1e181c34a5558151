// Feeds arbitrary words to the command line, and what it accepts to the check of the configuration. The words
// are separated by zero bytes; a byte with its top bit set stands for one of the words that the program
// knows, so that the fuzzer need not guess them.
#include <string>
#include <vector>

#include "cli/command_line.hpp"
#include "cli/size.hpp"

using namespace vellum;

namespace {

const std::vector<std::string>& known_words() {
  static const std::vector<std::string> words = [] {
    std::vector<std::string> list{
        "run",  "diff", "completion", "--help", "--version", "--engine", "auto",   "interp", "--",       "-",
        "512M", "0",    "bash",       "=",      "host",      "virtual",  "doctor", "--json", "patience="};
    for (const cli::OptionRow& row : cli::run_option_table()) {
      list.push_back(row.name);
      for (const std::string& choice : row.choices) list.push_back(choice);
    }
    return list;
  }();
  return words;
}

void check(const Result<cli::Command>& command) {
  if (!command) {
    // One line for the user: what was wrong is shown, whatever bytes it had.
    const std::string text = command.error().message;
    if (text.empty() || text.find('\n') != std::string::npos) __builtin_trap();
    return;
  }
  if (const auto* run = std::get_if<cli::RunOptions>(&*command)) (void)check_config(run->machine);
  if (const auto* diff = std::get_if<cli::DiffOptions>(&*command)) (void)check_config(diff->request.machine);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  std::vector<std::string> arguments;
  std::string word;
  bool begun = false;
  for (std::size_t n = 0; n < size; ++n) {
    if (data[n] == 0) {
      arguments.push_back(std::exchange(word, {}));
    } else if (data[n] >= 0x80) {
      word += known_words()[(data[n] & 0x7fu) % known_words().size()];
    } else {
      word.push_back(static_cast<char>(data[n]));
    }
    begun = data[n] != 0;
  }
  if (begun) arguments.push_back(word);
  check(cli::parse_command_line(arguments));
  return 0;
}
