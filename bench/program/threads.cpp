// Threads that wait for each other, by a bare futex and by a mutex with a condition variable.
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "benchmark.hpp"

namespace bench {
namespace {

void with_thread(void* (*other)(void*), void (*mine)()) {
  pthread_t thread;
  if (::pthread_create(&thread, nullptr, other, nullptr) != 0) fail("pthread_create");
  mine();
  ::pthread_join(thread, nullptr);
}

constexpr u32 kTurns = 2'000;
std::atomic<u32> turn;

void futex(int operation, u32 value) {
  static_assert(sizeof(turn) == 4);
  ::syscall(SYS_futex, &turn, operation, value, nullptr, nullptr, 0);
}

// Waits until `turn` has the given parity, then passes it on.
void take_turns(u32 parity) {
  for (u32 n = 0; n < kTurns; ++n) {
    for (u32 now; ((now = turn.load()) & 1) != parity;) futex(FUTEX_WAIT_PRIVATE, now);
    turn.fetch_add(1);
    futex(FUTEX_WAKE_PRIVATE, 1);
  }
}

u64 futex_turns() {
  turn = 0;
  with_thread([](void*) -> void* { return take_turns(1), nullptr; }, [] { take_turns(0); });
  return turn;
}

constexpr u32 kHandOvers = 1'500;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
u64 guarded = 0;

// Wakes the other thread while it still holds the mutex that the other one then needs.
void hand_over(u64 parity) {
  for (u32 n = 0; n < kHandOvers; ++n) {
    ::pthread_mutex_lock(&mutex);
    while ((guarded & 1) != parity) ::pthread_cond_wait(&changed, &mutex);
    ++guarded;
    ::pthread_cond_signal(&changed);
    ::pthread_mutex_unlock(&mutex);
  }
}

u64 mutex_turns() {
  guarded = 0;
  with_thread([](void*) -> void* { return hand_over(1), nullptr; }, [] { hand_over(0); });
  return guarded;
}

constexpr Benchmark kAll[] = {
    {"futex", "kernel", "two threads hand a futex to and fro", "turn", 2 * kTurns, futex_turns},
    {"mutex", "kernel", "two threads hand over by mutex and condition variable", "turn", 2 * kHandOvers,
     mutex_turns},
};

}  // namespace

std::span<const Benchmark> thread_benchmarks() {
  return kAll;
}

}  // namespace bench
