// What a guest has told the user's terminal and would outlive the guest: firmware that switches line wrap
// off, a program that hid the cursor or was killed on the alternate screen. A pure state machine over the
// output.
//
// Followed are line wrap, the cursor's being shown, the alternate screen, mouse, focus and paste reports,
// cursor keys and keypad, modified keys, insert mode, colours and their like, the scrolling region and line
// drawing (ECMA-48, DEC STD 070, xterm's control sequences); not rarer ones such as the cursor's shape,
// origin mode or reverse video.
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
  /// DEC's and xterm's private modes; the alternate screen's come first.
  static constexpr std::array kModes = {Mode{47, false},   Mode{1047, false}, Mode{1049, false},
                                        Mode{1, false},    Mode{7, true},     Mode{25, true},
                                        Mode{1000, false}, Mode{1002, false}, Mode{1003, false},
                                        Mode{1004, false}, Mode{1006, false}, Mode{2004, false}};
  static constexpr std::size_t kAlternateScreens = 3;
  static constexpr std::size_t kMaxParameters = 64;  ///< longer sequences are passed over

  enum class At : u8 { kText, kEscape, kControl, kCharacterSet };
  void text(u8 byte);
  void escape(u8 byte);
  void parameter(u8 byte);
  void control(u8 final);
  void set_modes(bool on);

  At at_ = At::kText;
  std::string parameters_;  ///< of the control sequence
  std::array<bool, kModes.size()> changed_{};
  bool keypad_ = false;       ///< it sends what applications want
  bool keys_ = false;         ///< xterm's modifyOtherKeys
  bool insert_ = false;       ///< what is written moves what is there
  bool scrolling_ = false;    ///< a part of the screen scrolls
  bool drawing_ = false;      ///< letters are lines
  bool shifted_out_ = false;  ///< so they are of the second character set
  bool rendition_ = false;    ///< colours, bold and their like
};

}  // namespace vellum
