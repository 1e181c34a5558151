#include "io/terminal_modes.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/key_values.hpp"

namespace vellum {
namespace {

constexpr u8 kShiftOut = 0x0e, kShiftIn = 0x0f, kCancel = 0x18, kSubstitute = 0x1a, kEscape = 0x1b;

}  // namespace

void TerminalModes::see(std::span<const u8> output) {
  for (const u8 byte : output) {
    if (byte == kEscape)
      at_ = At::kEscape;
    else if (byte == kCancel || byte == kSubstitute)
      at_ = At::kText;
    else if (byte < 0x20)  // does what it does elsewhere, and the sequence goes on
      text(byte);
    else if (at_ == At::kEscape)
      escape(byte);
    else if (at_ == At::kControl)
      parameter(byte);
    else if (at_ == At::kCharacterSet)
      drawing_ = byte == '0', at_ = At::kText;
  }
}

void TerminalModes::text(u8 byte) {
  if (byte == kShiftOut || byte == kShiftIn) shifted_out_ = byte == kShiftOut;
}

void TerminalModes::escape(u8 byte) {
  at_ = byte == '[' ? At::kControl : byte == '(' ? At::kCharacterSet : At::kText;
  parameters_.clear();
  if (byte == '=' || byte == '>') keypad_ = byte == '=';
  if (byte == 'c') *this = {};  // the terminal's own reset
}

void TerminalModes::parameter(u8 byte) {
  if (byte >= 0x40 && byte <= 0x7e) {
    at_ = At::kText;
    control(byte);
  } else if (parameters_.size() < kMaxParameters) {
    parameters_ += static_cast<char>(byte);
  } else {
    at_ = At::kText;
  }
}

void TerminalModes::control(u8 final) {
  // A marker in front, or a byte in between, makes another sequence of it.
  const bool plain = parameters_.find_first_not_of("0123456789;:") == std::string::npos;
  const bool zeroes = parameters_.find_first_not_of("0;") == std::string::npos;
  if (parameters_.starts_with('?')) {
    if (final == 'h' || final == 'l') set_modes(final == 'h');
  } else if (parameters_.starts_with(">4") && final == 'm') {
    keys_ = parameters_.find_first_not_of("0;", 2) != std::string::npos;
  } else if (plain && final == 'm') {
    rendition_ = !zeroes;
  } else if (plain && final == 'r') {
    scrolling_ = !zeroes;
  } else if (parameters_ == "4" && (final == 'h' || final == 'l')) {
    insert_ = final == 'h';
  }
}

void TerminalModes::set_modes(bool on) {
  std::string_view rest(parameters_);
  rest.remove_prefix(1);
  while (!rest.empty()) {
    unsigned number = 0;
    if (!parse_number(take_until(rest, ';'), number)) continue;
    for (std::size_t i = 0; i < kModes.size(); ++i) {
      if (kModes[i].number != number) continue;
      changed_[i] = on != kModes[i].usual;
      if (i < kAlternateScreens && !on) std::fill_n(changed_.begin(), kAlternateScreens, false);
    }
  }
}

std::string TerminalModes::undo() const {
  std::string text;
  for (std::size_t i = 0; i < kModes.size(); ++i)
    if (changed_[i]) text += fmt::format("\x1b[?{}{}", kModes[i].number, kModes[i].usual ? 'h' : 'l');
  if (keypad_) text += "\x1b>";
  if (keys_) text += "\x1b[>4m";
  if (insert_) text += "\x1b[4l";
  if (scrolling_)
    text += "\x1b\x37\x1b[r\x1b\x38";  // which moves the cursor: saved (ESC 7) and restored (ESC 8)
  if (shifted_out_) text += static_cast<char>(kShiftIn);
  if (drawing_) text += "\x1b(B";
  if (rendition_) text += "\x1b[0m";
  return text;
}

}  // namespace vellum
