#include "io/event_loop.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

#include <boost/asio/buffer.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <deque>
#include <future>
#include <mutex>
#include <system_error>
#include <vector>

#include "base/assert.hpp"
#include "base/fd.hpp"
#include "io/signals.hpp"

namespace vellum {
namespace asio = boost::asio;

namespace {

// Callbacks, and what they post.
class Turns {
 public:
  explicit Turns(asio::io_context& context) : context_(context) {}

  // What a callback has posted runs right after it, and what that posts, without another look at all
  // descriptors. The rest waits for one, or work that posts itself would keep others from theirs, and all
  // that is posted then waits behind it.
  void run(const std::function<void()>& callback) {
    callback();
    if (posted_) return;
    for (int generation = 0; generation < 2; ++generation)
      for (std::size_t count = later_.size(); count > 0; --count) {
        if (context_.stopped()) return;
        const auto work = std::move(later_.front());
        later_.pop_front();
        work();
      }
    if (later_.empty()) return;
    posted_ = true;
    asio::post(context_, [this] {
      posted_ = false;
      run([] {});
    });
  }
  void post(std::function<void()> work) { later_.push_back(std::move(work)); }
  asio::io_context& context() { return context_; }

 private:
  asio::io_context& context_;
  std::deque<std::function<void()>> later_;
  bool posted_ = false;  ///< a run that takes the rest
};

// What other threads post. Asio's own queue wakes the loop with its lock held: where the woken thread takes
// the processor of the one that holds it, it runs into that lock, and two more switches pass before anything
// is done.
class Mailbox {
 public:
  Mailbox(Turns& turns, EventFd bell) : turns_(turns), bell_(std::move(bell)), reader_(turns.context()) {
    reader_.assign(::dup(bell_.fd()));
    wait();
  }

  /// Any thread.
  void post(std::function<void()> work) {
    {
      std::scoped_lock lock(mutex_);
      posted_.push_back(std::move(work));
      if (posted_.size() > 1) return;  // the bell was rung for the first
    }
    bell_.notify();
  }

 private:
  void wait() {
    reader_.async_read_some(asio::buffer(&rings_, sizeof rings_),
                            [this](const boost::system::error_code& error, std::size_t) {
                              if (error == asio::error::operation_aborted) return;
                              VELLUM_ASSERT(!error, "the event loop's bell: {}", error.message());
                              turns_.run([this] { empty(); });
                              wait();
                            });
  }

  // Behind what the loop's own callbacks have posted: so work runs in the order of posting, whoever posts.
  void empty() {
    {
      std::scoped_lock lock(mutex_);
      std::swap(posted_, taken_);
    }
    for (auto& work : taken_) turns_.post(std::move(work));
    taken_.clear();
  }

  Turns& turns_;
  EventFd bell_;
  asio::posix::stream_descriptor reader_;
  u64 rings_ = 0;
  std::vector<std::function<void()>> taken_;  ///< the loop's thread's

  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;  ///< with mutex_ held
};

// Not thread_.get_id(): the thread runs before thread_ knows of it.
thread_local const EventLoop* loop_of_this_thread = nullptr;

}  // namespace

struct EventLoop::Impl {
  explicit Impl(EventFd bell) : mailbox(turns, std::move(bell)) {}

  asio::io_context context{1};
  asio::executor_work_guard<asio::io_context::executor_type> work{context.get_executor()};
  Turns turns{context};
  Mailbox mailbox;
};

namespace {

// Asio sets O_NONBLOCK on a descriptor it waits for. That flag belongs to the open file description, which
// standard input shares with our parent shell: it would stay behind. So Asio waits for an epoll descriptor of
// our own that holds the user's.
class AsioWatch final : public EventLoop::Watch {
 public:
  // Outlives the watch while Asio still holds a completion.
  struct Shared {
    Shared(Turns& of_loop, std::function<void()> function)
        : turns(of_loop), descriptor(of_loop.context()), callback(std::move(function)) {}
    Turns& turns;
    asio::posix::stream_descriptor descriptor;
    std::function<void()> callback;
    bool alive = true;
    bool always_ready = false;
  };

  explicit AsioWatch(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}
  ~AsioWatch() override {
    shared_->alive = false;
    boost::system::error_code ignored;
    shared_->descriptor.close(ignored);
  }

  void arm() override {
    auto call = [shared = shared_] {
      if (shared->alive) shared->turns.run(shared->callback);
    };
    if (shared_->always_ready) {
      asio::post(shared_->turns.context(), std::move(call));
      return;
    }
    shared_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                   [call = std::move(call)](const boost::system::error_code& error) {
                                     if (error != asio::error::operation_aborted) call();
                                   });
  }

 private:
  std::shared_ptr<Shared> shared_;
};

class AsioDelay final : public EventLoop::Delay {
 public:
  AsioDelay(Turns& turns, std::function<void()> callback)
      : timer_(turns.context()), shared_(std::make_shared<Shared>(Shared{turns, std::move(callback), 0})) {}
  ~AsioDelay() override { ++shared_->generation; }

  void arm(std::chrono::nanoseconds duration) override {
    const u64 generation = ++shared_->generation;
    timer_.expires_after(std::max(duration, std::chrono::nanoseconds(0)));
    timer_.async_wait([shared = shared_, generation](const boost::system::error_code& error) {
      // A completion that was already queued when the delay was armed anew or destroyed carries an old
      // generation.
      if (!error && shared->generation == generation) shared->turns.run(shared->callback);
    });
  }
  void disarm() override {
    ++shared_->generation;
    timer_.cancel();
  }

 private:
  struct Shared {
    Turns& turns;
    std::function<void()> callback;
    u64 generation;
  };
  asio::steady_timer timer_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::create() {
  VELLUM_TRY_ASSIGN(bell, EventFd::create());
  // Asio throws when the host refuses its epoll, timer or event descriptors; nothing else in here does.
  try {
    return std::unique_ptr<EventLoop>(new EventLoop(std::make_unique<Impl>(std::move(bell))));
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
  thread_ = std::thread([this] {
    loop_of_this_thread = this;
    impl_->context.run();
  });
}

bool EventLoop::on_loop_thread() const {
  return loop_of_this_thread == this;
}

void EventLoop::stop() {
  impl_->context.stop();
  if (thread_.joinable()) thread_.join();
}

void EventLoop::post(std::function<void()> work) {
  if (on_loop_thread()) {
    impl_->turns.post(std::move(work));
  } else {
    impl_->mailbox.post(std::move(work));
  }
}

void EventLoop::run_on_loop(const std::function<void()>& work) {
  if (on_loop_thread() || !thread_.joinable()) {
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
  auto shared = std::make_shared<AsioWatch::Shared>(impl_->turns, std::move(callback));
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
  return std::make_unique<AsioWatch>(std::move(shared));
}

std::unique_ptr<EventLoop::Delay> EventLoop::delay(std::function<void()> callback) {
  return std::make_unique<AsioDelay>(impl_->turns, std::move(callback));
}

}  // namespace vellum
