// Golden translations: files that pin what chosen guest instructions become.
//
//   golden-translations [--update] FILE...
//
// Memory operands go through flat tables, or behind the comment "# memory: hashed" are looked up.
// A file has comments (#), and for each instruction a line with its bytes and its text, then an indented line
// for each host instruction. Everything but the bytes is made anew and compared; --update writes it instead,
// and `git diff` shows what a change of the translator did. A new instruction is a line with its bytes and an
// --update.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <sstream>

#include "translate.hpp"

namespace vellum::golden {
namespace {

std::optional<std::vector<u8>> bytes_of(const std::string& line) {
  std::vector<u8> bytes;
  std::istringstream in(line.substr(0, line.find("  ")));
  for (std::string word; in >> word;) {
    if (word.size() != 2 || word.find_first_not_of("0123456789abcdef") != std::string::npos)
      return std::nullopt;
    bytes.push_back(static_cast<u8>(std::stoul(word, nullptr, 16)));
  }
  if (bytes.empty() || bytes.size() > 15) return std::nullopt;
  return bytes;
}

std::string entry(const std::vector<u8>& bytes, bt::Options::Memory memory) {
  std::string hex;
  for (const u8 byte : bytes) hex += fmt::format("{}{:02x}", hex.empty() ? "" : " ", byte);
  const auto golden = translate(bytes, memory);
  if (!golden) return hex + "  ?\n    (interpreted)\n";
  std::string out = fmt::format("{}  {}\n", hex, golden->guest);
  for (const std::string& line : golden->host) out += "    " + line + "\n";
  return out;
}

/// The file made anew; empty if it cannot be read.
std::optional<std::string> regenerate(const std::string& text, const std::string& path) {
  std::string out;
  std::istringstream in(text);
  int number = 0;
  auto memory = bt::Options::Memory::kFlat;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.starts_with("    ")) continue;
    if (line == "# memory: hashed") memory = bt::Options::Memory::kHashed;
    if (line.empty() || line[0] == '#') {
      out += line + "\n";
      continue;
    }
    const auto bytes = bytes_of(line);
    if (!bytes) {
      fmt::print(stderr, "{}:{}: not the bytes of an instruction: {}\n", path, number, line);
      return std::nullopt;
    }
    out += entry(*bytes, memory);
  }
  return out;
}

/// Prints the first entry that differs.
void show_difference(const std::string& path, const std::string& want, const std::string& got) {
  std::istringstream a(want), b(got);
  std::string header, expected, now;
  for (int number = 1;; ++number) {
    const bool more = static_cast<bool>(std::getline(a, expected)),
               other = static_cast<bool>(std::getline(b, now));
    if (!more) expected.clear();
    if (!other) now.clear();
    if (!more && !other) return;
    if (!now.starts_with("    ")) header = now;
    if (expected == now) continue;
    fmt::print(stderr, "{}:{}: {}\n  expected: {}\n  is now:   {}\n", path, number, header, expected, now);
    return;
  }
}

bool handle(const std::string& path, bool update) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  if (!in) {
    fmt::print(stderr, "{}: cannot be read\n", path);
    return false;
  }
  const auto now = regenerate(text.str(), path);
  if (!now) return false;
  if (*now == text.str()) return true;
  if (!update) {
    show_difference(path, text.str(), *now);
    fmt::print(stderr, "If that is meant: golden-translations --update {}\n", path);
    return false;
  }
  std::ofstream(path) << *now;
  return true;
}

}  // namespace
}  // namespace vellum::golden

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty()) {
    std::fputs("usage: golden-translations [--update] FILE...\n", stderr);
    return 2;
  }
  if (!vellum::golden::supported()) {
    std::fputs("skipped: this processor lacks what the model x86-64-v3 needs\n", stderr);
    return 77;
  }
  bool update = false, good = true;
  for (const std::string& word : words) {
    if (word == "--update")
      update = true;
    else
      good = vellum::golden::handle(word, update) && good;
  }
  return good ? 0 : 1;
}
