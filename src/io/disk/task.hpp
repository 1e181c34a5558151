// Coroutines of the disks: a request that must wait for a file reads as a function that does not.
//
// A Task runs on the loop's thread only. It begins when it is awaited, runs on without suspending as long as
// nothing must be waited for, and its awaiter goes on where it ends. Depth of the stack is the depth of the
// calls, however many awaits complete at once (no symmetric transfer, which needs tail calls that debug
// builds do not make).
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <tl/expected.hpp>
#include <utility>

#include "base/int.hpp"

namespace vellum {

/// A value, or an errno of the host's file.
template <class T>
using Io = tl::expected<T, int>;

namespace detail {

struct TaskPromiseBase {
  std::coroutine_handle<> awaiter;  ///< null while the awaiter still runs (or is none)

  struct AtEnd {
    bool await_ready() noexcept { return false; }
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> self) noexcept {
      // The awaiter destroys this coroutine; nothing of it is touched afterwards.
      if (const auto waiting = self.promise().awaiter) waiting.resume();
    }
    void await_resume() noexcept {}
  };

  std::suspend_always initial_suspend() noexcept { return {}; }
  AtEnd final_suspend() noexcept { return {}; }
  void unhandled_exception() { std::terminate(); }
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
 public:
  struct promise_type : detail::TaskPromiseBase {
    std::optional<T> value;
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    template <class U>
    void return_value(U&& result) {
      value.emplace(std::forward<U>(result));
    }
  };

  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (handle_) handle_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> awaiter) {
    handle_.resume();
    if (handle_.done()) return false;
    handle_.promise().awaiter = awaiter;
    return true;
  }
  T await_resume() { return std::move(*handle_.promise().value); }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

/// Starts a task that nobody awaits; `ended` runs with its result. The task begins at once.
template <class T, class Ended>
void start_task(Task<T> task, Ended ended) {
  struct Detached {
    struct promise_type {
      Detached get_return_object() { return {}; }
      std::suspend_never initial_suspend() noexcept { return {}; }
      std::suspend_never final_suspend() noexcept { return {}; }
      void return_void() {}
      void unhandled_exception() { std::terminate(); }
    };
  };
  [](Task<T> inner, Ended then) -> Detached {
    T result = co_await inner;
    then(std::move(result));
  }(std::move(task), std::move(ended));
}

/// Several tasks at once: add() starts each, wait() ends when all have, with the first error (0: none).
class TaskGroup {
 public:
  void add(Task<int> task) {
    ++running_;
    start_task(std::move(task), [this](int error) {
      if (error_ == 0) error_ = error;
      // The group may be gone once its awaiter runs.
      if (--running_ == 0 && waiter_) std::exchange(waiter_, {}).resume();
    });
  }

  auto wait() {
    struct Wait {
      TaskGroup& group;
      bool await_ready() const noexcept { return group.running_ == 0; }
      void await_suspend(std::coroutine_handle<> waiter) { group.waiter_ = waiter; }
      int await_resume() const { return group.error_; }
    };
    return Wait{*this};
  }

 private:
  unsigned running_ = 0;
  int error_ = 0;
  std::coroutine_handle<> waiter_;
};

}  // namespace vellum
