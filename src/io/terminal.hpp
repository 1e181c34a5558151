// The user's terminal in raw mode, and how it always comes back.
//
// Raw mode belongs to the terminal, not to the process: whoever leaves it on leaves the user with a dead
// shell. So the original settings are restored by the destructor, around a stop (SIGTSTP), and by handlers of
// the fatal signals. What those handlers must find is this folder's one mutable global; it stands in
// terminal.cpp.
#pragma once

#include <termios.h>

#include <optional>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

struct TerminalSize {
  u16 columns = 0, rows = 0;
};

class RawTerminal {
 public:
  /// Whether `fd` is a terminal.
  static bool is_terminal(int fd);
  /// Nothing if it does not know.
  static std::optional<TerminalSize> size(int fd);

  /// Puts the terminal `fd` into raw mode (each byte at once, no echo, no signals from keys; output keeps its
  /// newline translation, so that messages of ours look right). At most one object at a time.
  static Result<RawTerminal> enter(int fd);
  RawTerminal(RawTerminal&& other) noexcept;
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();

  /// Gives the terminal back to the shell, and takes it again. resume() leaves a terminal alone of which we
  /// are not the foreground process group.
  void suspend();
  void resume();

 private:
  RawTerminal(int fd, const termios& original, const termios& raw)
      : fd_(fd), original_(original), raw_(raw) {}

  int fd_;
  termios original_;
  termios raw_;
};

/// Restores the terminal if the process dies of SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS or SIGABRT,
/// then lets it die of that. Call once at start, before others install handlers of their own.
void restore_terminal_on_crash();

}  // namespace vellum
