// Clocks: monotonic across threads and processors, in agreement with each other, running.
#include <sched.h>
#include <sys/time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <thread>
#include <vector>

#include "report.hpp"

namespace workload {
namespace {

std::uint64_t read_clock(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

/// The highest value that any thread has read so far is never above what is read afterwards.
template <class F>
std::uint64_t backwards(F read) {
  std::atomic<std::uint64_t> latest = 0;
  std::atomic<std::uint64_t> count = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 2'000; ++j) {
        const std::uint64_t seen = latest.load();
        const std::uint64_t now = read();
        if (now < seen) ++count;
        std::uint64_t highest = seen;
        while (highest < now && !latest.compare_exchange_weak(highest, now)) {
        }
      }
    });
  }
  for (auto& t : threads) t.join();
  return count;
}

}  // namespace

int clocks() {
  report("clocks.monotonic_backwards", backwards([] { return read_clock(CLOCK_MONOTONIC); }));
  report("clocks.tsc_backwards", backwards([] {
           _mm_lfence();
           return static_cast<std::uint64_t>(__rdtsc());
         }));
  const std::uint64_t wall = read_clock(CLOCK_REALTIME);
  const std::uint64_t start = read_clock(CLOCK_MONOTONIC);
  const std::uint64_t tsc = __rdtsc();
  usleep(200'000);
  const std::uint64_t elapsed = read_clock(CLOCK_MONOTONIC) - start;
  const std::uint64_t wall_elapsed = read_clock(CLOCK_REALTIME) - wall;
  const std::uint64_t difference = elapsed > wall_elapsed ? elapsed - wall_elapsed : wall_elapsed - elapsed;
  report("clocks.sleep", std::string(elapsed >= 200'000'000 ? "long enough" : "too short"));
  report("clocks.agree", std::string(difference < 50'000'000 ? "yes" : "no"));
  report("clocks.tsc", std::string(__rdtsc() > tsc ? "runs" : "stands"));
  report("clocks.year", std::string(wall / 1'000'000'000 > 1'600'000'000 ? "after 2020" : "before 2020"));
  return 0;
}

}  // namespace workload
