#include "io/vsock/socket_poll.hpp"

#include <sys/epoll.h>

#include <array>
#include <cerrno>

namespace vellum {

Result<std::unique_ptr<SocketPoll>> SocketPoll::create(EventLoop& loop, Callback callback) {
  FileDescriptor epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) return fail_errno("cannot create an epoll descriptor", errno);
  std::unique_ptr<SocketPoll> made(new SocketPoll(std::move(epoll), std::move(callback)));
  SocketPoll* const raw = made.get();
  VELLUM_TRY_ASSIGN_TO(raw->watch_, loop.watch(raw->epoll_.get(), EventLoop::Direction::kRead, [raw] {
    raw->look();
    raw->watch_->arm();
  }));
  raw->watch_->arm();
  return made;
}

Result<> SocketPoll::add(int socket, u64 key) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = key;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket, &event) != 0)
    return fail_errno("cannot wait for a socket", errno);
  return {};
}

void SocketPoll::remove(int socket) {
  (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, socket, nullptr);
}

void SocketPoll::look() {
  std::array<epoll_event, 64> events;
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 0);
  for (int n = 0; n < count; ++n) {
    const epoll_event& event = events[static_cast<std::size_t>(n)];
    const u32 what = event.events;
    const bool broken = (what & (EPOLLHUP | EPOLLERR)) != 0;
    callback_(event.data.u64,
              {broken || (what & (EPOLLIN | EPOLLRDHUP)) != 0, broken || (what & EPOLLOUT) != 0, broken});
  }
}

}  // namespace vellum
