// The user's side of a guest's serial line: standard input and output, as a terminal in raw mode, pipes or
// files.
//
//   guest -> write() -> Output -> out_fd
//   in_fd -> [escape filter, terminals only] -> pending -> receiver -> guest
//
// Back-pressure: the receiver takes what it has room for; what is left stays pending until receiver_ready().
// A pipe or file is then not read any further. A terminal is, so that Ctrl-] still works: past kMaxPending
// its input is dropped, as a terminal driver does.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "io/escape_filter.hpp"
#include "io/output.hpp"
#include "io/terminal.hpp"
#include "io/terminal_modes.hpp"

namespace vellum {

class Console {
 public:
  struct Events {
    std::function<void()> leave;             ///< Ctrl-] twice; on the I/O thread
    std::function<void()> input_closed;      ///< nothing more will come in; on the I/O thread, once
    std::function<void(int)> output_closed;  ///< nobody reads any more: errno; any thread, once
  };
  /// Takes the bytes it has room for, from the front, and says how many. Runs on the I/O thread.
  using Receiver = std::function<std::size_t(std::span<const u8>)>;

  /// Uses descriptors that the caller owns. A terminal goes into raw mode here. Before the loop starts.
  static Result<std::unique_ptr<Console>> create(EventLoop& loop, int in_fd, int out_fd, Events events);
  /// After the loop has stopped and no vCPU writes.
  ~Console() = default;

  void write(std::span<const u8> bytes);                  ///< Any thread.
  bool has_output_room() { return output_->has_room(); }  ///< Any thread.
  /// Sets who is told, on the I/O thread, when there is room again; on return the one before will not be.
  void on_output_room(std::function<void()> notify);
  void flush() { output_->flush(); }
  void abandon_output() { output_->abandon(); }

  /// Sets who gets the input; an empty function holds it. Any thread but a receiver's caller; on return the
  /// old receiver is not running and will not run.
  void connect(Receiver receiver);
  /// The receiver has room again. Any thread, locks held or not.
  void receiver_ready();

  bool is_terminal() const { return terminal_.has_value(); }
  /// The terminal's; nothing without one.
  std::optional<TerminalSize> size() const;
  /// Whether input can still come or is pending. Any thread.
  bool input_possible() const { return input_possible_.load(std::memory_order_acquire); }

  /// Around a stop of the process: gives the terminal back, takes it again. The main thread.
  void suspend();
  void resume();
  /// Leaves raw mode for good (also done by the destructor), and undoes what the guest told the terminal.
  /// When nobody writes any more.
  void restore_terminal();

 private:
  static constexpr std::size_t kMaxPending = 64 * 1024;

  Console(EventLoop& loop, int in_fd, Events events)
      : loop_(loop), in_fd_(in_fd), events_(std::move(events)) {}
  void on_readable();
  void on_hold_over();
  void pump();

  EventLoop& loop_;
  int in_fd_;
  Events events_;
  std::unique_ptr<Output> output_;
  std::optional<RawTerminal> terminal_;
  std::mutex modes_mutex_;              // a leaf
  std::optional<TerminalModes> modes_;  ///< the output's, if it is a terminal
  std::atomic<bool> input_possible_{true};
  std::atomic<bool> pump_posted_{false};

  // The loop's thread only.
  std::unique_ptr<EventLoop::Watch> readable_;
  std::unique_ptr<EventLoop::Delay> hold_;
  EscapeFilter filter_;
  std::vector<u8> pending_;
  Receiver receiver_;
  bool reading_ = false;  ///< the watch is armed
  bool eof_ = false;
};

}  // namespace vellum
