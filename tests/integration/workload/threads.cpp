// Threads: mutexes, condition variables, barriers, futexes, thread-local storage, lock-free counters and a
// store-buffer litmus test, on as many processors as there are.
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <barrier>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "report.hpp"

namespace workload {
namespace {

constexpr int kThreads = 4;
thread_local std::uint64_t local_sum = 0;

template <class F>
void in_threads(F body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(body, i);
  for (auto& t : threads) t.join();
}

std::uint64_t counters() {
  std::uint64_t guarded = 0;
  std::mutex lock;
  std::atomic<std::uint64_t> free = 0;
  std::atomic<std::uint64_t> exchanged = 0;
  in_threads([&](int id) {
    for (int i = 0; i < 2'000; ++i) {
      free.fetch_add(static_cast<std::uint64_t>(id + i));
      std::uint64_t seen = exchanged.load();
      while (!exchanged.compare_exchange_weak(seen, seen * 1 + 3)) {
      }
      local_sum += static_cast<std::uint64_t>(i);
      if (i % 8 == 0) {
        const std::scoped_lock held(lock);
        guarded += local_sum;
        local_sum = 0;
      }
    }
    const std::scoped_lock held(lock);
    guarded += local_sum;
  });
  return guarded * 31 + free.load() * 17 + exchanged.load();
}

std::uint64_t queue() {
  std::deque<int> items;
  std::mutex lock;
  std::condition_variable ready, room;
  std::atomic<std::uint64_t> sum = 0;
  constexpr int kItems = 800;
  in_threads([&](int id) {
    for (int i = 0; i < kItems; ++i) {
      std::unique_lock held(lock);
      if (id % 2 == 0) {
        room.wait(held, [&] { return items.size() < 8; });
        items.push_back(i);
        ready.notify_one();
      } else {
        ready.wait(held, [&] { return !items.empty(); });
        sum += static_cast<std::uint64_t>(items.front());
        items.pop_front();
        room.notify_one();
      }
    }
  });
  return sum.load();
}

std::uint64_t rounds() {
  std::barrier gate(kThreads);
  std::uint64_t slots[kThreads] = {};
  in_threads([&](int id) {
    for (int round = 0; round < 50; ++round) {
      const std::uint64_t neighbour = slots[(id + 1) % kThreads];
      gate.arrive_and_wait();
      slots[id] = neighbour * 5 + static_cast<std::uint64_t>(id + round);
      gate.arrive_and_wait();
    }
  });
  return digest(slots, sizeof slots);
}

/// Dekker's flags with full fences: both threads reading 0 in one round is forbidden (SDM vol. 3A §9.2.3.4
/// allows it only without the fence).
std::uint64_t litmus() {
  std::atomic<int> x = 0, y = 0;
  int seen[2] = {};
  std::barrier gate(2);
  std::uint64_t forbidden = 0;
  const auto side = [&](int id) {
    for (int i = 0; i < 300; ++i) {
      (id == 0 ? x : y).store(1, std::memory_order_relaxed);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      seen[id] = (id == 0 ? y : x).load(std::memory_order_relaxed);
      gate.arrive_and_wait();
      if (id == 0) {
        if (seen[0] == 0 && seen[1] == 0) ++forbidden;
        x = 0, y = 0;
      }
      gate.arrive_and_wait();
    }
  };
  std::thread other(side, 1);
  side(0);
  other.join();
  return forbidden;
}

/// Two threads hand a word to each other through a bare futex.
std::uint64_t ping_pong() {
  std::atomic<std::uint32_t> turn = 0;
  const auto wait_for = [&turn](std::uint32_t parity) {
    for (std::uint32_t now = turn; now % 2 != parity; now = turn) {
      syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, nullptr, nullptr, 0);
    }
  };
  const auto pass = [&turn] {
    turn.fetch_add(1);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  };
  std::thread other([&] {
    for (int i = 0; i < 300; ++i) wait_for(1), pass();
  });
  for (int i = 0; i < 300; ++i) wait_for(0), pass();
  other.join();
  return turn.load();
}

}  // namespace

int threads() {
  report("threads.counters", counters());
  report("threads.queue", queue());
  report("threads.barrier", rounds());
  report("threads.litmus", litmus());
  report("threads.futex", ping_pong());
  return 0;
}

}  // namespace workload
