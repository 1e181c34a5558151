#include "cli/findings.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vellum::cli {
namespace {

const char* word(Finding::State state) {
  switch (state) {
    case Finding::State::kGood:
      return "ok";
    case Finding::State::kLacking:
      return "lacking";
    case Finding::State::kFatal:
      return "fatal";
  }
  return "";
}

// RFC 8259 §7. What the host calls things (a processor's name, a path) is not ours.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  return out + '"';
}

}  // namespace

bool can_run(std::span<const Finding> findings) {
  return std::ranges::none_of(findings, [](const Finding& f) { return f.state == Finding::State::kFatal; });
}

std::string as_text(std::span<const Finding> findings) {
  std::string text;
  for (const Finding& f : findings) {
    text += fmt::format("{:<8} {:<18} {}\n", word(f.state), f.name, f.detail);
    if (!f.advice.empty()) text += fmt::format("{:<27} -> {}\n", "", f.advice);
  }
  return text + (can_run(findings) ? "Vellum can run here.\n" : "Vellum cannot run here.\n");
}

std::string as_json(std::span<const Finding> findings) {
  std::string text = fmt::format("{{\n  \"can_run\": {},\n  \"findings\": [", can_run(findings));
  const char* separator = "\n";
  for (const Finding& f : findings) {
    text += fmt::format(R"({}    {{"name": {}, "state": "{}", "detail": {}, "advice": {}}})", separator,
                        quoted(f.name), word(f.state), quoted(f.detail), quoted(f.advice));
    separator = ",\n";
  }
  return text + "\n  ]\n}\n";
}

}  // namespace vellum::cli
