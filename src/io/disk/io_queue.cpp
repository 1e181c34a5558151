#include "io/disk/io_queue.hpp"

#include <spdlog/spdlog.h>

namespace vellum {

Result<std::unique_ptr<IoQueue>> IoQueue::create(EventLoop& loop, DiskAio aio) {
  if (aio != DiskAio::kThreads) {
    auto uring = detail::create_uring_queue(loop);
    if (uring || aio == DiskAio::kUring) return uring;
    spdlog::info("disk I/O by threads: {}", uring.error().message);
  }
  return detail::create_thread_queue(loop);
}

Result<> IoQueue::watch(EventLoop& loop, const EventFd& completions) {
  auto watching = loop.watch(completions.fd(), EventLoop::Direction::kRead, [this, &completions] {
    completions.clear();
    kick();
    watch_->arm();
  });
  if (!watching) return tl::unexpected(std::move(watching).error());
  watch_ = std::move(*watching);
  watch_->arm();
  return {};
}

bool IoQueue::run_ready() {
  if (ready_.empty()) return false;
  const auto ready = std::exchange(ready_, {});
  for (const auto handle : ready) handle.resume();
  return true;
}

void IoQueue::kick() {
  bool ran = true;
  while (ran) {
    ran = run_ready();
    ran |= turn(false);
  }
}

void IoQueue::wait() {
  bool ran = run_ready();
  ran |= turn(!ran);
  kick();
}

void IoQueue::spawn(Task<int> task) {
  ++tasks_;
  start_task(std::move(task), [this](int) { --tasks_; });
}

}  // namespace vellum
