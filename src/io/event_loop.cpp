#include "io/event_loop.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <future>
#include <system_error>

#include "base/assert.hpp"
#include "base/fd.hpp"

namespace vellum {
namespace asio = boost::asio;

struct EventLoop::Impl {
  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
};

namespace {

// Asio sets O_NONBLOCK on a descriptor it waits for. That flag belongs to the open file description, which
// standard input shares with our parent shell: it would stay behind. So Asio waits for an epoll descriptor of
// our own that holds the user's.
class AsioWatch final : public EventLoop::Watch {
 public:
  // Outlives the watch while Asio still holds a completion.
  struct Shared {
    Shared(asio::io_context& context, std::function<void()> function)
        : descriptor(context), callback(std::move(function)) {}
    asio::posix::stream_descriptor descriptor;
    std::function<void()> callback;
    bool alive = true;
    bool always_ready = false;
  };

  AsioWatch(asio::io_context& context, std::shared_ptr<Shared> shared)
      : context_(context), shared_(std::move(shared)) {}
  ~AsioWatch() override {
    shared_->alive = false;
    boost::system::error_code ignored;
    shared_->descriptor.close(ignored);
  }

  void arm() override {
    auto call = [shared = shared_] {
      if (shared->alive) shared->callback();
    };
    if (shared_->always_ready) {
      asio::post(context_, std::move(call));
      return;
    }
    shared_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                   [call = std::move(call)](const boost::system::error_code& error) {
                                     if (error != asio::error::operation_aborted) call();
                                   });
  }

 private:
  asio::io_context& context_;
  std::shared_ptr<Shared> shared_;
};

class AsioDelay final : public EventLoop::Delay {
 public:
  AsioDelay(asio::io_context& context, std::function<void()> callback)
      : timer_(context), shared_(std::make_shared<Shared>(Shared{std::move(callback), 0})) {}
  ~AsioDelay() override { ++shared_->generation; }

  void arm(std::chrono::nanoseconds duration) override {
    const u64 generation = ++shared_->generation;
    timer_.expires_after(std::max(duration, std::chrono::nanoseconds(0)));
    timer_.async_wait([shared = shared_, generation](const boost::system::error_code& error) {
      // A completion that was already queued when the delay was armed anew or destroyed carries an old
      // generation.
      if (!error && shared->generation == generation) shared->callback();
    });
  }
  void disarm() override {
    ++shared_->generation;
    timer_.cancel();
  }

 private:
  struct Shared {
    std::function<void()> callback;
    u64 generation;
  };
  asio::steady_timer timer_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  // Asio throws when the host refuses its epoll, timer or event descriptors; nothing else in here does.
  try {
    return std::unique_ptr<EventLoop>(new EventLoop(std::make_unique<Impl>()));
  } catch (const std::exception& error) {
    return fail(ErrorCode::kHost, "cannot create the event loop: {}", error.what());
  }
}

EventLoop::EventLoop(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

EventLoop::~EventLoop() {
  stop();
}

void EventLoop::start() {
  VELLUM_ASSERT(!thread_.joinable(), "the event loop was started twice");
  thread_ = std::thread([this] { impl_->context.run(); });
}

void EventLoop::stop() {
  impl_->context.stop();
  if (thread_.joinable()) thread_.join();
}

void EventLoop::post(std::function<void()> work) {
  asio::post(impl_->context, std::move(work));
}

void EventLoop::run_on_loop(const std::function<void()>& work) {
  if (!thread_.joinable() || on_loop_thread()) {
    work();
    return;
  }
  std::promise<void> done;
  post([&] {
    work();
    done.set_value();
  });
  done.get_future().wait();
}

Result<std::unique_ptr<EventLoop::Watch>> EventLoop::watch(int fd, Direction direction,
                                                           std::function<void()> callback) {
  auto shared = std::make_shared<AsioWatch::Shared>(impl_->context, std::move(callback));
  FileDescriptor inner(::epoll_create1(EPOLL_CLOEXEC));
  if (!inner) return fail_errno("cannot create an epoll descriptor", errno);
  epoll_event event{};
  event.events = direction == Direction::kRead ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;
  if (::epoll_ctl(inner.get(), EPOLL_CTL_ADD, fd, &event) == 0) {
    boost::system::error_code error;
    shared->descriptor.assign(::dup(inner.get()), error);
    if (error) return fail(ErrorCode::kHost, "cannot wait for descriptor {}: {}", fd, error.message());
  } else if (errno == EPERM) {
    shared->always_ready = true;  // regular files and /dev/null have no readiness: they are always ready
  } else {
    return fail_errno(fmt::format("cannot wait for descriptor {}", fd), errno);
  }
  return std::make_unique<AsioWatch>(impl_->context, std::move(shared));
}

std::unique_ptr<EventLoop::Delay> EventLoop::delay(std::function<void()> callback) {
  return std::make_unique<AsioDelay>(impl_->context, std::move(callback));
}

}  // namespace vellum
