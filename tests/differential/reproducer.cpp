#include "reproducer.hpp"

#include <fmt/format.h>

#include <fstream>
#include <sstream>

#include "compare.hpp"
#include "generator.hpp"

namespace vellum::differential {
namespace {

std::string to_hex(const u8* bytes, std::size_t n) {
  std::string text;
  for (std::size_t i = 0; i < n; ++i) text += fmt::format("{:02x}", bytes[i]);
  return text;
}

bool from_hex(const std::string& text, u8* bytes, std::size_t n) {
  if (text.size() != 2 * n) return false;
  for (std::size_t i = 0; i < n; ++i)
    bytes[i] = static_cast<u8>(std::stoul(text.substr(2 * i, 2), nullptr, 16));
  return true;
}

}  // namespace

Result<> write_reproducer(const std::string& path, const Case& c) {
  std::ofstream out(path);
  x86::Decoded d;
  if (decode_case(c, d) == x86::DecodeStatus::kOk)
    out << "# " << x86::format_instruction(d, c.in.rip) << "\n";
  out << "mode " << (c.compat ? "compat" : "long") << "\n";
  out << "code " << to_hex(c.code.data(), c.length) << "\n";
  out << fmt::format("data {:x}\nrip {:x}\nrflags {:x}\n", c.data_seed, c.in.rip, c.in.rflags);
  for (unsigned r = 0; r < 16; ++r) out << fmt::format("gpr{} {:x}\n", r, c.in.gpr[r]);
  out << "legacy " << to_hex(c.in.fp.legacy.data(), 512) << "\n";
  out << "ymm_high " << to_hex(c.in.fp.ymm_high.data(), 256) << "\n";
  if (!out.flush()) return fail(ErrorCode::kHost, "cannot write '{}'", path);
  return {};
}

Result<Case> read_reproducer(const std::string& path) {
  std::ifstream in(path);
  if (!in) return fail(ErrorCode::kNotFound, "cannot open '{}'", path);
  Case c;
  std::string line;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string key, value;
    words >> key >> value;
    bool good = true;
    if (key == "mode")
      c.compat = value == "compat";
    else if (key == "code") {
      c.length = static_cast<u8>(value.size() / 2);
      good = c.length <= 15 && from_hex(value, c.code.data(), c.length);
    } else if (key == "data")
      c.data_seed = std::stoull(value, nullptr, 16);
    else if (key == "rip")
      c.in.rip = std::stoull(value, nullptr, 16);
    else if (key == "rflags")
      c.in.rflags = std::stoull(value, nullptr, 16);
    else if (key == "legacy")
      good = from_hex(value, c.in.fp.legacy.data(), 512);
    else if (key == "ymm_high")
      good = from_hex(value, c.in.fp.ymm_high.data(), 256);
    else if (key.starts_with("gpr") && key.size() > 3)
      c.in.gpr[std::stoul(key.substr(3)) & 15] = std::stoull(value, nullptr, 16);
    else
      good = false;
    if (!good) return fail(ErrorCode::kBadInput, "'{}': cannot read the line '{}'", path, line);
  }
  x86::Decoded decoded;
  c.repeated = decode_case(c, decoded) == x86::DecodeStatus::kOk && is_repeated(decoded);
  return c;
}

}  // namespace vellum::differential
