// IoQueue over threads that make the system calls, for hosts that refuse io_uring. Threads are started as
// they are needed; each takes the oldest operation.
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <system_error>
#include <thread>

#include "io/disk/io_queue.hpp"

namespace vellum {
namespace {

int perform(const IoOperation& operation) {
  const auto offset = static_cast<off_t>(operation.offset);
  const auto length = static_cast<off_t>(operation.length);
  const auto count = static_cast<int>(operation.buffer_count);
  ssize_t result = 0;
  do {
    switch (operation.kind) {
      case IoOperation::Kind::kRead:
        result = ::preadv(operation.fd, operation.buffers, count, offset);
        break;
      case IoOperation::Kind::kWrite:
        result = ::pwritev(operation.fd, operation.buffers, count, offset);
        break;
      case IoOperation::Kind::kSync:
        result = ::fdatasync(operation.fd);
        break;
      case IoOperation::Kind::kPunch:
        result = ::fallocate(operation.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
        break;
      case IoOperation::Kind::kZero:
        result = ::fallocate(operation.fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
        break;
    }
  } while (result < 0 && errno == EINTR);
  return result < 0 ? -errno : static_cast<int>(result);
}

class ThreadQueue final : public IoQueue {
 public:
  explicit ThreadQueue(EventFd completions) : completions_(std::move(completions)) {}
  ~ThreadQueue() override {
    {
      const std::scoped_lock lock(mutex_);
      stop_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  Result<> start(EventLoop& loop) {
    VELLUM_TRY(watch(loop, completions_));
    const std::scoped_lock lock(mutex_);
    if (!start_thread()) return fail(ErrorCode::kHost, "cannot start a thread for disk I/O");
    return {};
  }

  void submit(IoOperation& operation) override {
    {
      const std::scoped_lock lock(mutex_);
      queued_.push_back(&operation);
      // A host that gives no further thread leaves those that there are.
      if (queued_.size() > idle_ && threads_.size() < kMaxThreads) start_thread();
    }
    work_.notify_one();
  }

 protected:
  bool turn(bool block) override {
    std::deque<Completion> completed;
    {
      std::unique_lock lock(mutex_);
      if (block) completion_.wait(lock, [this] { return !completed_.empty(); });
      completed.swap(completed_);
    }
    for (const Completion& one : completed) one.operation->done(*one.operation, one.result);
    return !completed.empty();
  }

 private:
  static constexpr std::size_t kMaxThreads = 16;
  struct Completion {
    IoOperation* operation;
    int result;
  };

  // With the mutex held. Signals stay with the threads that expect them.
  bool start_thread() {
    sigset_t all, before;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = true;
    try {
      threads_.emplace_back([this] { run(); });
    } catch (const std::system_error&) {
      started = false;
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }

  void run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      ++idle_;
      work_.wait(lock, [this] { return stop_ || !queued_.empty(); });
      --idle_;
      if (queued_.empty()) return;
      IoOperation* operation = queued_.front();
      queued_.pop_front();
      lock.unlock();
      const int result = perform(*operation);
      lock.lock();
      const bool first = completed_.empty();
      completed_.push_back({operation, result});
      completion_.notify_one();
      if (first) completions_.notify();
    }
  }

  EventFd completions_;
  std::mutex mutex_;  // a leaf; guards all below
  std::condition_variable work_, completion_;
  std::deque<IoOperation*> queued_;
  std::deque<Completion> completed_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool stop_ = false;
};

}  // namespace

Result<std::unique_ptr<IoQueue>> detail::create_thread_queue(EventLoop& loop) {
  VELLUM_TRY_ASSIGN(completions, EventFd::create());
  auto queue = std::make_unique<ThreadQueue>(std::move(completions));
  VELLUM_TRY(queue->start(loop));
  return queue;
}

}  // namespace vellum
