// What a guest has told the user's terminal, as far as it outlives the guest: firmware that switches line
// wrap off, a program that hid the cursor or was killed on the alternate screen. A pure state machine over
// the output.
#pragma once

#include <array>
#include <span>
#include <string>

#include "base/int.hpp"

namespace vellum {

class TerminalModes {
 public:
  void see(std::span<const u8> output);
  /// The control sequences that bring the terminal back to where terminals begin; empty if it is there.
  std::string undo() const;

 private:
  struct Mode {
    unsigned number;  ///< as in ESC [ ? number h
    bool usual;       ///< how terminals begin
  };
  /// DEC's and xterm's private modes, those that change the screen first.
  static constexpr std::array kModes = {Mode{47, false},   Mode{1047, false}, Mode{1049, false},
                                        Mode{1, false},    Mode{7, true},     Mode{25, true},
                                        Mode{1000, false}, Mode{1002, false}, Mode{1003, false},
                                        Mode{1004, false}, Mode{1006, false}, Mode{2004, false}};
  static constexpr std::size_t kMaxParameters = 64;  ///< longer sequences are passed over

  enum class At : u8 { kText, kEscape, kControl };
  void escape(u8 byte);
  void control(u8 final);
  void set_modes(bool on);

  At at_ = At::kText;
  std::string parameters_;  ///< of the control sequence
  std::array<bool, kModes.size()> changed_{};
  bool rendition_ = false;  ///< colours, bold and their like
  bool scrolling_ = false;  ///< a part of the screen scrolls
};

}  // namespace vellum
