// Signals as a file descriptor: the main thread waits for them like for anything else, and no handler runs.
#pragma once

#include <optional>

#include "base/fd.hpp"

namespace vellum {

class SignalWaiter {
 public:
  /// Blocks SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT and SIGWINCH in the calling thread, and so in
  /// all that it starts later, and ignores SIGPIPE. Call on the main thread before others exist.
  static Result<SignalWaiter> create();

  /// Readable when next() has something.
  int fd() const { return fd_.get(); }
  /// The number of a signal that arrived, or nothing.
  std::optional<int> next();

  /// Ends the process as `signal` would have: its parent sees a death by that signal.
  [[noreturn]] static void die_of(int signal);
  /// Stops the process by SIGTSTP; returns when it is continued.
  static void stop_process();

 private:
  explicit SignalWaiter(FileDescriptor fd) : fd_(std::move(fd)) {}
  FileDescriptor fd_;
};

/// An eventfd: any thread (and a signal handler) notifies, someone polls.
class EventFd {
 public:
  static Result<EventFd> create();
  int fd() const { return fd_.get(); }
  void notify() const;  ///< async-signal-safe
  void clear() const;

 private:
  explicit EventFd(FileDescriptor fd) : fd_(std::move(fd)) {}
  FileDescriptor fd_;
};

}  // namespace vellum
