// The event loop: one I/O thread per machine waits for file descriptors, delays and work posted by other
// threads.
//
// Boost.Asio does the waiting and stays inside event_loop.cpp. Callbacks run on the loop's thread, one at a
// time, and may take device locks (lock order: nothing of the loop is locked while a callback runs).
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <thread>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

class EventLoop {
 public:
  static Result<std::unique_ptr<EventLoop>> create();
  ~EventLoop();  ///< stop()
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  /// Starts the thread. Call once.
  void start();
  /// Ends the thread after the callback now running; work posted but not begun is dropped. Not from a
  /// callback.
  void stop();
  bool on_loop_thread() const;

  /// Runs `work` on the loop's thread, in order of posting. Any thread.
  void post(std::function<void()> work);
  /// As post(), and returns when it has run. Any other thread, or the loop's own (runs at once), or with no
  /// thread running (runs at once).
  void run_on_loop(const std::function<void()>& work);

  enum class Direction : u8 { kRead, kWrite };

  /// Waits for a file descriptor that someone else owns; its O_NONBLOCK flag is left alone. Create, arm and
  /// destroy it on the loop's thread, or while no thread runs.
  class Watch {
   public:
    virtual ~Watch() = default;
    /// Calls the callback once, when the descriptor is ready, has an error or is hung up; files are always
    /// ready.
    virtual void arm() = 0;
  };
  Result<std::unique_ptr<Watch>> watch(int fd, Direction direction, std::function<void()> callback);

  /// A delay of host time. Create, arm and destroy it as a Watch.
  class Delay {
   public:
    virtual ~Delay() = default;
    /// Calls the callback once after `duration` (0 or less: as soon as possible), forgetting an earlier
    /// arm().
    virtual void arm(std::chrono::nanoseconds duration) = 0;
    virtual void disarm() = 0;
  };
  std::unique_ptr<Delay> delay(std::function<void()> callback);

 private:
  struct Impl;
  explicit EventLoop(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
  std::thread thread_;
};

}  // namespace vellum
