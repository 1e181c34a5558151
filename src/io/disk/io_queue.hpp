// Asynchronous file I/O for one disk and its backing files: io_uring where the kernel lets us, else a few
// threads that make the system calls. Both are used the same way, from the loop's thread:
//
//   submit() queues;  kick() hands all that is queued to the kernel, once a turn of the loop, and runs what
//   is ready; completions come by an eventfd that the loop watches, or from within kick() and wait().
//
// It also counts the tasks that run on it, so that "nothing is under way" is one question.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <vector>

#include "io/disk/disk_config.hpp"
#include "io/disk/task.hpp"
#include "io/event_loop.hpp"
#include "io/signals.hpp"

namespace vellum {

/// One operation on a file; whoever submits it keeps it and all it points to until `done`.
struct IoOperation {
  enum class Kind : u8 {
    kRead,   ///< into `buffers`
    kWrite,  ///< from `buffers`
    kSync,   ///< what was written before is on stable storage (fdatasync)
    kPunch,  ///< the range reads as zeroes and takes no place; the file's size stays
    kZero,   ///< the range reads as zeroes; the file's size stays
  };
  Kind kind = Kind::kRead;
  int fd = -1;
  u64 offset = 0;
  u64 length = 0;  ///< kPunch and kZero only
  const iovec* buffers = nullptr;
  unsigned buffer_count = 0;  ///< at most kMaxBuffers
  /// Called on the loop's thread with bytes moved (fewer than asked for is no error), 0, or a negative errno.
  void (*done)(IoOperation& operation, int result) = nullptr;

  static constexpr unsigned kMaxBuffers = 1024;  ///< IOV_MAX
};

class IoQueue {
 public:
  /// kAuto takes io_uring if the kernel has it and lets us use it (containers often do not). `loop` outlives
  /// it.
  static Result<std::unique_ptr<IoQueue>> create(EventLoop& loop, DiskAio aio);
  virtual ~IoQueue() = default;  ///< with no operation and no task under way
  IoQueue(const IoQueue&) = delete;
  IoQueue& operator=(const IoQueue&) = delete;

  virtual void submit(IoOperation& operation) = 0;
  /// Hands over what is queued, and runs what is ready, until nothing is.
  void kick();
  /// As kick(); if nothing was ready, waits for a completion first. Only with a task under way.
  void wait();

  /// Starts a task that nobody awaits.
  void spawn(Task<int> task);
  bool idle() const { return tasks_ == 0; }
  /// Resumes a coroutine soon, from kick() or wait(): never from within this call.
  void resume_later(std::coroutine_handle<> handle) { ready_.push_back(handle); }

 protected:
  IoQueue() = default;
  /// Watches `completions`; call once, at creation.
  Result<> watch(EventLoop& loop, const EventFd& completions);
  /// Hands over what was queued; runs the `done` of what has completed; with `block`, waits for one if there
  /// is none. Returns whether any ran.
  virtual bool turn(bool block) = 0;

 private:
  bool run_ready();
  std::vector<std::coroutine_handle<>> ready_;
  unsigned tasks_ = 0;
  std::unique_ptr<EventLoop::Watch> watch_;
};

/// Awaits one operation: `co_await submit_and_wait(queue, operation)` is what `done` would get.
class IoWait : public IoOperation {
 public:
  IoWait(IoQueue& queue, const IoOperation& operation) : IoOperation(operation), queue_(queue) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) {
    waiter_ = waiter;
    done = [](IoOperation& operation, int result) {
      auto& self = static_cast<IoWait&>(operation);
      self.result_ = result;
      self.waiter_.resume();
    };
    queue_.submit(*this);
  }
  int await_resume() const noexcept { return result_; }

 private:
  IoQueue& queue_;
  std::coroutine_handle<> waiter_;
  int result_ = 0;
};

namespace detail {
Result<std::unique_ptr<IoQueue>> create_uring_queue(EventLoop& loop);
Result<std::unique_ptr<IoQueue>> create_thread_queue(EventLoop& loop);
}  // namespace detail

}  // namespace vellum
