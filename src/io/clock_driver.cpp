#include "io/clock_driver.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>

#include "base/assert.hpp"

namespace vellum {

Result<std::unique_ptr<ClockDriver>> ClockDriver::create(EventLoop& loop, Clock& clock) {
  VELLUM_ASSERT(!clock.is_virtual(), "a virtual clock is driven by whoever runs the vCPUs");
  FileDescriptor timer(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer) return fail_errno("cannot create a timer", errno);
  std::unique_ptr<ClockDriver> driver(new ClockDriver(loop, clock, std::move(timer)));
  Result<> watched;
  loop.run_on_loop([&] {
    auto watch = loop.watch(driver->timer_.get(), EventLoop::Direction::kRead,
                            [self = driver.get()] { self->on_timer(); });
    if (watch) {
      driver->watch_ = std::move(*watch);
    } else {
      watched = tl::unexpected(std::move(watch).error());
    }
  });
  VELLUM_TRY(watched);
  return driver;
}

void ClockDriver::start() {
  clock_.on_deadline_moved([this] { set_timer(); });
  loop_.run_on_loop([this] { on_timer(); });
}

ClockDriver::~ClockDriver() {
  loop_.run_on_loop([this] { watch_.reset(); });
  clock_.on_deadline_moved(nullptr);
}

void ClockDriver::on_timer() {
  {
    std::scoped_lock lock(mutex_);
    // What the read returns does not matter: nothing has expired if the timer was set anew in the meantime.
    u64 expirations = 0;
    [[maybe_unused]] const ssize_t size = ::read(timer_.get(), &expirations, sizeof expirations);
    set_for_ns_.reset();
  }
  clock_.run_expired();
  set_timer();
  watch_->arm();
}

// Two threads may move deadlines at the same time: each reads, under the lock, what is the earliest after its
// own change, so the last to come sets the timer for all.
void ClockDriver::set_timer() {
  std::scoped_lock lock(mutex_);
  const auto deadline = clock_.next_deadline();
  if (deadline == set_for_ns_) return;
  set_for_ns_ = deadline;
  itimerspec when{};  // all 0 disarms
  if (deadline) {
    const u64 host = *clock_.host_monotonic(*deadline);
    when.it_value.tv_sec = static_cast<time_t>(host / 1'000'000'000);
    when.it_value.tv_nsec = static_cast<long>(host % 1'000'000'000);
  }
  const int result = ::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
  VELLUM_ASSERT(result == 0, "timerfd_settime: error {}", errno);
}

}  // namespace vellum
