#include "io/output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vellum {
namespace {

// O_NONBLOCK belongs to the open file description, which our parent shares: never set it on what we were
// given. Terminals and pipes can be opened anew; a regular file must not be (its position is shared on
// purpose) and never blocks. When opening fails, poll() before each small write comes close enough.
FileDescriptor reopen_non_blocking(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !(S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode))) return {};
  // One that is not open for writing must not become so.
  const int mode = ::fcntl(fd, F_GETFL);
  if (mode < 0 || (mode & O_ACCMODE) == O_RDONLY) return {};
  const std::string path = fmt::format("/proc/self/fd/{}", fd);
  return FileDescriptor(::open(path.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
}

}  // namespace

Result<std::unique_ptr<Output>> Output::create(EventLoop& loop, int fd, std::function<void(int)> on_closed) {
  VELLUM_TRY_ASSIGN(abandoned, EventFd::create());
  FileDescriptor own = reopen_non_blocking(fd);
  const int target = own ? own.get() : fd;
  std::unique_ptr<Output> output(
      new Output(loop, std::move(own), target, std::move(abandoned), std::move(on_closed)));
  VELLUM_TRY_ASSIGN(watch, loop.watch(target, EventLoop::Direction::kWrite,
                                      [raw = output.get()] { raw->flush_on_loop(); }));
  output->writable_ = std::move(watch);
  return output;
}

void Output::write(std::span<const u8> bytes) {
  std::unique_lock lock(mutex_);
  if (closed_) return;
  queue_.insert(queue_.end(), bytes.begin(), bytes.end());
  if (queue_.size() >= kHighWater) {
    drain(lock, true);
  } else if (!flush_posted_) {
    flush_posted_ = true;
    loop_.post([this] { flush_on_loop(); });
  }
}

bool Output::has_room() {
  std::scoped_lock lock(mutex_);
  if (closed_ || queue_.size() < kLowWater) return true;
  room_wanted_ = true;
  return false;
}

void Output::flush() {
  std::unique_lock lock(mutex_);
  drain(lock, true);
}

void Output::flush_on_loop() {
  std::unique_lock lock(mutex_);
  flush_posted_ = !drain(lock, false);
  if (flush_posted_) writable_->arm();
  const bool room = room_wanted_ && (closed_ || queue_.size() < kLowWater);
  if (!room) return;
  room_wanted_ = false;
  lock.unlock();
  if (on_room_) on_room_();
}

bool Output::wait_writable(bool block) const {
  pollfd wait[2] = {{fd_, POLLOUT, 0}, {abandoned_.fd(), POLLIN, 0}};
  while (::poll(wait, 2, block ? -1 : 0) < 0 && errno == EINTR) {
  }
  return wait[0].revents != 0;  // errors too: write() tells which
}

bool Output::drain(std::unique_lock<std::mutex>& lock, bool wait) {
  constexpr std::size_t kPiece = 4096;  // PIPE_BUF: a pipe that poll() calls writable takes this much at once
  std::size_t done = 0;
  int error = 0;
  while (done < queue_.size() && error == 0) {
    if (!wait_writable(wait)) {
      if (!wait) break;
      done = queue_.size();  // abandoned
      break;
    }
    const auto n = ::write(fd_, queue_.data() + done, std::min(kPiece, queue_.size() - done));
    if (n >= 0) {
      done += static_cast<std::size_t>(n);
    } else if (errno == EAGAIN && !wait) {
      break;
    } else if (errno != EINTR && errno != EAGAIN) {
      error = errno;
    }
  }
  if (error != 0) done = queue_.size();
  queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(done));
  if (error != 0 && !closed_) {
    closed_ = true;
    if (on_closed_) {
      lock.unlock();
      on_closed_(error);
      lock.lock();
    }
  }
  return queue_.empty();
}

}  // namespace vellum
