#include "io/event_loop.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <future>
#include <numeric>
#include <thread>
#include <vector>

#include "base/fd.hpp"

namespace vellum {
namespace {

using namespace std::chrono_literals;

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    read = FileDescriptor(ends[0]);
    write = FileDescriptor(ends[1]);
  }
  FileDescriptor read, write;
};

class EventLoopTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto created = EventLoop::create();
    ASSERT_TRUE(created);
    loop = std::move(*created);
  }
  std::unique_ptr<EventLoop> loop;
};

TEST_F(EventLoopTest, RunsPostedWorkInOrderOnItsThread) {
  std::vector<int> order;
  loop->post([&] { order.push_back(1); });
  loop->start();
  loop->post([&] { order.push_back(loop->on_loop_thread() ? 2 : -2); });
  loop->run_on_loop([&] { order.push_back(3); });
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_FALSE(loop->on_loop_thread());
}

TEST_F(EventLoopTest, EachThreadsPostsRunInItsOrder) {
  constexpr int kThreads = 4, kPosts = 2000;
  std::array<std::vector<int>, kThreads> seen;
  loop->start();
  std::vector<std::thread> posters;
  for (int n = 0; n < kThreads; ++n)
    posters.emplace_back([this, n, &mine = seen[static_cast<std::size_t>(n)]] {
      for (int i = 0; i < kPosts; ++i) loop->post([&mine, i] { mine.push_back(i); });
    });
  for (std::thread& poster : posters) poster.join();
  loop->run_on_loop([] {});
  std::vector<int> all(kPosts);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(seen, (std::array<std::vector<int>, kThreads>{all, all, all, all}));
}

TEST_F(EventLoopTest, WhatCallbacksPostRunsInOrder) {
  std::vector<int> order;
  std::promise<void> done;
  loop->start();
  loop->post([&] {
    loop->post([&] {
      order.push_back(1);
      loop->post([&] { order.push_back(3); });
    });
    loop->post([&] {
      order.push_back(2);
      loop->post([&] {
        order.push_back(4);
        done.set_value();
      });
    });
  });
  done.get_future().wait();
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3, 4}));
}

TEST_F(EventLoopTest, WhatACallbackPostsRunsBeforeTheLoopWaitsAgain) {
  const Pipe first, second;
  std::vector<int> order;
  std::promise<void> done;
  std::unique_ptr<EventLoop::Watch> watches[2];
  watches[0] = *loop->watch(first.read.get(), EventLoop::Direction::kRead, [&] {
    order.push_back(1);
    watches[1]->arm();  // is ready
    loop->post([&] { order.push_back(2); });
  });
  watches[1] = *loop->watch(second.read.get(), EventLoop::Direction::kRead, [&] {
    order.push_back(3);
    done.set_value();
  });
  ASSERT_EQ(::write(second.write.get(), "x", 1), 1);
  ASSERT_EQ(::write(first.write.get(), "x", 1), 1);
  watches[0]->arm();
  loop->start();
  done.get_future().wait();
  loop->run_on_loop([&] { watches[0].reset(), watches[1].reset(); });
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
}

TEST_F(EventLoopTest, WorkThatPostsItselfForEverLeavesDescriptorsTheirTurn) {
  constexpr std::size_t kPipes = 20;
  std::array<Pipe, kPipes> pipes;
  std::vector<std::unique_ptr<EventLoop::Watch>> watches;
  std::size_t fired = 0;
  unsigned turns = 0;
  std::promise<unsigned> turns_until_all;
  for (const Pipe& pipe : pipes) {
    auto watch = loop->watch(pipe.read.get(), EventLoop::Direction::kRead, [&] {
      if (++fired == kPipes) turns_until_all.set_value(turns);
    });
    ASSERT_TRUE(watch);
    watches.push_back(std::move(*watch));
    ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  }
  std::function<void()> again = [&] {
    if (++turns == 1)
      for (const auto& watch : watches) watch->arm();
    loop->post(again);
  };
  loop->post(again);
  loop->start();
  const unsigned seen = turns_until_all.get_future().get();
  loop->stop();
  EXPECT_LE(seen, 8u);  // not one for each of them
}

TEST_F(EventLoopTest, WorkOfOthersComesBehindWhatCallbacksHavePosted) {
  std::vector<int> order;
  std::promise<void> deep, done;
  loop->start();
  std::function<void(int)> nest = [&](int depth) {
    if (depth == 0) {
      order.push_back(1);
      return;
    }
    if (depth == 1) deep.set_value();
    loop->post([&nest, depth] { nest(depth - 1); });
  };
  loop->post([&] { nest(4); });
  deep.get_future().wait();
  loop->run_on_loop([&] { order.push_back(2); });
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(EventLoopTest, RunOnLoopFromACallbackRunsAtOnce) {
  std::promise<int> result;
  loop->start();
  loop->post([&] {
    int value = 0;
    loop->run_on_loop([&] { value = 7; });
    result.set_value(value);
  });
  EXPECT_EQ(result.get_future().get(), 7);
}

TEST_F(EventLoopTest, AWatchFiresOnceEachTimeItIsArmed) {
  const Pipe pipe;
  std::atomic<int> fired{0};
  std::promise<void> second;
  std::unique_ptr<EventLoop::Watch> watch;
  auto created = loop->watch(pipe.read.get(), EventLoop::Direction::kRead, [&] {
    if (fired.fetch_add(1) == 0) {
      watch->arm();  // the byte was not read: ready again
    } else {
      second.set_value();
    }
  });
  ASSERT_TRUE(created);
  watch = std::move(*created);
  watch->arm();
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  loop->start();
  second.get_future().wait();
  loop->run_on_loop([&] { watch.reset(); });
  EXPECT_EQ(fired, 2);
}

TEST_F(EventLoopTest, AWatchLeavesTheDescriptorBlocking) {
  const Pipe pipe;
  std::promise<void> fired;
  auto watch = loop->watch(pipe.write.get(), EventLoop::Direction::kWrite, [&] { fired.set_value(); });
  ASSERT_TRUE(watch);
  (*watch)->arm();
  loop->start();
  fired.get_future().wait();
  EXPECT_EQ(::fcntl(pipe.write.get(), F_GETFL) & O_NONBLOCK, 0);
}

TEST_F(EventLoopTest, AFileIsAlwaysReady) {
  const FileDescriptor file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::promise<void> fired;
  auto watch = loop->watch(file.get(), EventLoop::Direction::kRead, [&] { fired.set_value(); });
  ASSERT_TRUE(watch);
  (*watch)->arm();
  loop->start();
  EXPECT_EQ(fired.get_future().wait_for(10s), std::future_status::ready);
}

TEST_F(EventLoopTest, AClosedDescriptorIsAnError) {
  EXPECT_FALSE(loop->watch(-1, EventLoop::Direction::kRead, [] {}));
}

TEST_F(EventLoopTest, ADestroyedWatchDoesNotFire) {
  const Pipe pipe;
  bool fired = false;
  auto watch = loop->watch(pipe.read.get(), EventLoop::Direction::kRead, [&] { fired = true; });
  ASSERT_TRUE(watch);
  loop->start();
  ASSERT_EQ(::write(pipe.write.get(), "x", 1), 1);
  loop->run_on_loop([&] {
    (*watch)->arm();
    watch->reset();
  });
  loop->run_on_loop([] {});
  EXPECT_FALSE(fired);
}

TEST_F(EventLoopTest, ADelayArmedAgainForgetsTheFirst) {
  std::vector<int> fired;
  std::promise<void> done;
  int round = 1;
  auto delay = loop->delay([&] {
    fired.push_back(round);
    done.set_value();
  });
  loop->start();
  loop->run_on_loop([&] {
    delay->arm(0ns);
    round = 2;
    delay->arm(1ms);
  });
  done.get_future().wait();
  loop->run_on_loop([&] { delay.reset(); });
  EXPECT_EQ(fired, std::vector<int>{2});
}

TEST_F(EventLoopTest, StopFromOutsideEndsAWaitingLoop) {
  loop->start();
  loop->stop();
  loop->stop();
  bool ran = false;
  loop->run_on_loop([&] { ran = true; });  // no thread: runs here
  EXPECT_TRUE(ran);
}

}  // namespace
}  // namespace vellum
