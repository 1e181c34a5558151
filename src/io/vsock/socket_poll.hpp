// Waits for many sockets with one descriptor of its own. Edges: what is reported ready counts as ready until
// an operation on it says EAGAIN.
//
// Threads: the event loop's, or any while no thread runs.
#pragma once

#include <functional>
#include <memory>

#include "base/fd.hpp"
#include "io/event_loop.hpp"

namespace vellum {

class SocketPoll {
 public:
  struct Ready {
    bool readable = false, writable = false;
    bool hung_up = false;  ///< in both directions
  };
  /// Called with the key that the socket was added under. Does not end the SocketPoll.
  using Callback = std::function<void(u64 key, Ready ready)>;

  static Result<std::unique_ptr<SocketPoll>> create(EventLoop& loop, Callback callback);

  /// Until it is closed or removed. Events of one look may come after that: keys are not to be used twice.
  Result<> add(int socket, u64 key);
  void remove(int socket);
  /// Looks now; also for who has no thread.
  void look();

 private:
  SocketPoll(FileDescriptor epoll, Callback callback)
      : epoll_(std::move(epoll)), callback_(std::move(callback)) {}

  FileDescriptor epoll_;
  Callback callback_;
  std::unique_ptr<EventLoop::Watch> watch_;
};

}  // namespace vellum
