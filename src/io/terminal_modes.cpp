#include "io/terminal_modes.hpp"

#include <fmt/format.h>

#include "base/key_values.hpp"

namespace vellum {

void TerminalModes::see(std::span<const u8> output) {
  for (const u8 byte : output) {
    if (byte == 0x1b) {
      at_ = At::kEscape;
    } else if (at_ == At::kEscape) {
      escape(byte);
    } else if (at_ == At::kControl) {
      if (byte >= 0x40 && byte <= 0x7e) {
        at_ = At::kText;
        control(byte);
      } else if (byte >= 0x20 && parameters_.size() < kMaxParameters) {
        parameters_ += static_cast<char>(byte);
      } else if (byte >= 0x20) {
        at_ = At::kText;
      }  // other control characters count as outside of the sequence
    }
  }
}

void TerminalModes::escape(u8 byte) {
  at_ = byte == '[' ? At::kControl : At::kText;
  parameters_.clear();
  if (byte == 'c') *this = {};  // the terminal's own reset
}

void TerminalModes::control(u8 final) {
  if (parameters_.starts_with('?')) {
    if (final == 'h' || final == 'l') set_modes(final == 'h');
  } else if (final == 'm') {
    rendition_ = parameters_.find_first_not_of("0;") != std::string::npos;
  } else if (final == 'r') {
    scrolling_ = !parameters_.empty();
  }
}

void TerminalModes::set_modes(bool on) {
  std::string_view rest(parameters_);
  rest.remove_prefix(1);
  while (!rest.empty()) {
    unsigned number = 0;
    if (!parse_number(take_until(rest, ';'), number)) continue;
    for (std::size_t i = 0; i < kModes.size(); ++i)
      if (kModes[i].number == number) changed_[i] = on != kModes[i].usual;
  }
}

std::string TerminalModes::undo() const {
  std::string text;
  for (std::size_t i = 0; i < kModes.size(); ++i)
    if (changed_[i]) text += fmt::format("\x1b[?{}{}", kModes[i].number, kModes[i].usual ? 'h' : 'l');
  if (scrolling_)
    text +=
        "\x1b"
        "7\x1b[r\x1b"
        "8";  // which moves the cursor: saved and restored
  if (rendition_) text += "\x1b[0m";
  return text;
}

}  // namespace vellum
