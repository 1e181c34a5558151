// Timers of a real clock, as the event loop drives them. That each fires, and not early, is tested; how late
// is the host's affair.
#include "io/clock_driver.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <future>
#include <thread>
#include <utility>
#include <vector>

namespace vellum {
namespace {

using namespace std::chrono_literals;

class ClockDriverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    loop = std::move(EventLoop::create()).value();
    driver = std::move(ClockDriver::create(*loop, clock)).value();
    loop->start();
  }

  RealClock clock;
  std::unique_ptr<EventLoop> loop;
  std::unique_ptr<ClockDriver> driver;
};

TEST_F(ClockDriverTest, FiresTimersInOrderOfTheirDeadlines) {
  std::vector<int> order;
  std::promise<void> both;
  Timer late(clock, [&] {
    order.push_back(2);
    both.set_value();
  });
  Timer early(clock, [&] { order.push_back(1); });
  driver->start();
  const u64 now = clock.now_ns();
  late.arm(now + 4'000'000);
  early.arm(now + 2'000'000);  // earlier than what the driver already waits for
  both.get_future().wait();
  driver.reset();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_GE(clock.now_ns(), now + 4'000'000);
}

TEST_F(ClockDriverTest, ATimerThatIsArmedBeforeTheStartFiresToo) {
  std::promise<void> fired;
  Timer timer(clock, [&] { fired.set_value(); });
  timer.arm(0);
  driver->start();
  EXPECT_EQ(fired.get_future().wait_for(10s), std::future_status::ready);
  driver.reset();
}

TEST_F(ClockDriverTest, ATimerThatMovesBackFiresAtItsLaterMoment) {
  std::promise<u64> fired;
  Timer timer(clock, [&] { fired.set_value(clock.now_ns()); });
  driver->start();
  const u64 now = clock.now_ns();
  timer.arm(now + 1'000'000);
  timer.arm(now + 3'000'000);
  EXPECT_GE(fired.get_future().get(), now + 3'000'000);
  driver.reset();
}

TEST_F(ClockDriverTest, AfterTheDriverIsGoneNothingFires) {
  std::atomic<bool> fired{false};
  Timer timer(clock, [&] { fired = true; });
  driver->start();
  timer.arm(clock.now_ns() + 3'600'000'000'000);
  driver.reset();
  timer.arm(0);
  loop->run_on_loop([] {});
  EXPECT_FALSE(fired);
}

/// A timer and whether it has fired, for a thread that stands for a vCPU.
struct Waiting {
  explicit Waiting(Clock& clock) : timer(clock, [this] { fired = true; }) {}
  bool fires() {
    const auto patience = std::chrono::steady_clock::now() + 5s;
    while (!fired && std::chrono::steady_clock::now() < patience) std::this_thread::yield();
    return fired;
  }

  std::atomic<bool> fired{false};
  Timer timer;
};

/// A real clock that lets something happen while the driver is about to set the host's timer.
class PausingClock final : public Clock {
 public:
  u64 now_ns() const override { return real_.now_ns(); }
  u64 tsc() const override { return real_.tsc(); }
  u64 tsc_hz() const override { return real_.tsc_hz(); }
  bool is_virtual() const override { return false; }
  WallTime wall_time() const override { return real_.wall_time(); }
  std::optional<u64> host_monotonic(u64 ns) const override {
    if (const auto action = std::exchange(meanwhile, nullptr)) action();
    return real_.host_monotonic(ns);
  }
  mutable std::function<void()> meanwhile;

 private:
  RealClock real_;
};

// A deadline moves forward while another thread is about to set the host's timer for what was the earliest
// until then.
TEST_F(ClockDriverTest, OfTwoThreadsThatMoveDeadlinesTheLaterDoesNotUndoTheEarlier) {
  PausingClock pausing;
  auto on_pausing = std::move(ClockDriver::create(*loop, pausing)).value();
  std::promise<void> fired;
  Timer far(pausing, [] {});
  Timer near(pausing, [&] { fired.set_value(); });
  on_pausing->start();
  std::future<void> other;
  pausing.meanwhile = [&] {
    other = std::async(std::launch::async, [&] { near.arm(pausing.now_ns() + 30'000'000); });
    other.wait_for(10ms);  // it has to wait for us
  };
  far.arm(pausing.now_ns() + 3'600'000'000'000);
  EXPECT_EQ(fired.get_future().wait_for(10s), std::future_status::ready);
  other.wait();
  on_pausing.reset();
}

// Each thread moves its timer back and forward, then holds it or leaves it to the driver.
TEST_F(ClockDriverTest, NoDeadlineIsLostOnItsWayBetweenThreads) {
  Waiting timers[] = {Waiting(clock), Waiting(clock), Waiting(clock)};
  driver->start();
  std::atomic<unsigned> lost{0};
  const auto run = [&](Waiting& one, u64 random) {
    for (unsigned round = 0; round < 500 && lost == 0; ++round) {
      random = random * 6364136223846793005 + 1442695040888963407;
      one.fired = false;
      for (const unsigned shift : {40, 44, 42}) one.timer.arm(clock.now_ns() + (random >> shift & 0x1ffff));
      if ((random >> 63) != 0) {
        one.timer.hold();
        std::this_thread::yield();
        one.timer.release();
      }
      if (!one.fires()) ++lost;
    }
  };
  std::vector<std::thread> threads;
  for (Waiting& one : timers) threads.emplace_back(run, std::ref(one), static_cast<u64>(&one - timers));
  for (std::thread& thread : threads) thread.join();
  driver.reset();
  EXPECT_EQ(lost, 0u);
}

}  // namespace
}  // namespace vellum
