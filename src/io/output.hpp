// Ordered output to a descriptor that may be slow: a terminal, a pipe, a file.
//
// Writers (vCPU threads, inside a device) append to a queue and go on; the I/O thread writes it out in large
// pieces. A writer that finds the queue full writes it out itself and waits for the reader: that is the
// back-pressure. It needs no other thread of ours, so a writer may hold its device's lock. abandon() ends
// such a wait.
#pragma once

#include <mutex>
#include <vector>

#include "base/fd.hpp"
#include "io/event_loop.hpp"
#include "io/signals.hpp"

namespace vellum {

class Output {
 public:
  /// Writes to `fd`, which someone else owns. `on_closed` (may be empty) runs once, on any thread and without
  /// locks of ours, when nobody reads any more. Destroy it when the loop has stopped and no writer is left.
  static Result<std::unique_ptr<Output>> create(EventLoop& loop, int fd,
                                                std::function<void(int error)> on_closed);

  void write(std::span<const u8> bytes);  ///< Any thread.
  /// Whether write() would not have to wait for long. After a no, `on_room` runs when it is a yes again. Any
  /// thread.
  bool has_room();
  /// Runs on the I/O thread without locks of ours. Set and reset there.
  void on_room(std::function<void()> notify) { on_room_ = std::move(notify); }
  /// Writes all of the queue, waiting for the reader. Any thread.
  void flush();
  /// Ends all waiting, now and later: what the reader does not take at once is dropped. Any thread.
  void abandon() { abandoned_.notify(); }

 private:
  Output(EventLoop& loop, FileDescriptor own, int fd, EventFd abandoned, std::function<void(int)> on_closed)
      : loop_(loop),
        own_(std::move(own)),
        fd_(fd),
        abandoned_(std::move(abandoned)),
        on_closed_(std::move(on_closed)) {}
  /// Writes what can be written without waiting, or with it. Returns false if some is left.
  bool drain(std::unique_lock<std::mutex>& lock, bool wait);
  bool wait_writable(bool block) const;
  void flush_on_loop();

  static constexpr std::size_t kHighWater = 256 * 1024, kLowWater = 64 * 1024;

  EventLoop& loop_;
  FileDescriptor
      own_;  ///< our own open file description of it where one can be had, so that it can be non-blocking
  int fd_;
  EventFd abandoned_;
  std::function<void(int)> on_closed_;
  // The loop's thread only.
  std::unique_ptr<EventLoop::Watch> writable_;
  std::function<void()> on_room_;

  std::mutex mutex_;  // held while writing to fd_, which keeps the order; a leaf but for that
  std::vector<u8> queue_;
  bool flush_posted_ = false;  ///< whenever something is queued, a flush is to come
  bool room_wanted_ = false;   ///< has_room() has said no
  bool closed_ = false;
};

}  // namespace vellum
