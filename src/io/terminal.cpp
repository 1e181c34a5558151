#include "io/terminal.hpp"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <utility>

namespace vellum {
namespace {

// What the fatal-signal handlers find (STYLE: the one exception to "no mutable globals"). Written by the
// thread that enters or leaves raw mode; `fd` is stored last and read first.
struct CrashRestore {
  termios original{};
  std::atomic<int> fd{-1};
};
CrashRestore crash_restore;  // NOLINT

void set_mode(int fd, const termios& mode) {
  // SIGTTOU would stop us if we were in the background; blocked, the call just succeeds or fails.
  sigset_t ttou, before;
  ::sigemptyset(&ttou);
  ::sigaddset(&ttou, SIGTTOU);
  ::pthread_sigmask(SIG_BLOCK, &ttou, &before);
  while (::tcsetattr(fd, TCSADRAIN, &mode) != 0 && errno == EINTR) {
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void on_fatal_signal(int signal) {
  // tcsetattr() and raise() are async-signal-safe. The handler was installed with SA_RESETHAND: the signal
  // kills now.
  if (const int fd = crash_restore.fd.load(); fd >= 0) ::tcsetattr(fd, TCSANOW, &crash_restore.original);
  ::raise(signal);
}

}  // namespace

bool RawTerminal::is_terminal(int fd) {
  return ::isatty(fd) == 1;
}

std::optional<TerminalSize> RawTerminal::size(int fd) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return std::nullopt;
  return TerminalSize{size.ws_col, size.ws_row};
}

Result<RawTerminal> RawTerminal::enter(int fd) {
  termios original{};
  if (::tcgetattr(fd, &original) != 0) return fail_errno("cannot read the terminal's settings", errno);
  termios raw = original;
  ::cfmakeraw(&raw);
  raw.c_oflag |= OPOST;
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  crash_restore.original = original;
  crash_restore.fd.store(fd);
  RawTerminal terminal(fd, original, raw);
  terminal.resume();
  return terminal;
}

RawTerminal::RawTerminal(RawTerminal&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), original_(other.original_), raw_(other.raw_) {}

RawTerminal::~RawTerminal() {
  if (fd_ < 0) return;
  suspend();
  crash_restore.fd.store(-1);
}

void RawTerminal::suspend() {
  set_mode(fd_, original_);
}

void RawTerminal::resume() {
  const pid_t foreground =
      ::tcgetpgrp(fd_);  // fails if it is not our controlling terminal: no job control then
  if (foreground < 0 || foreground == ::getpgrp()) set_mode(fd_, raw_);
}

void restore_terminal_on_crash() {
  struct sigaction action {};
  action.sa_handler = on_fatal_signal;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER | SA_ONSTACK);
  for (const int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT})
    ::sigaction(signal, &action, nullptr);
}

}  // namespace vellum
