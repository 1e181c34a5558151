#include "cpu/hazard.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace vellum {

// std::atomic::wait() has no time limit, spins and yields first, which a vCPU that halts for milliseconds
// pays for, and its futexes are not private to the process.

void Hazards::wait(u32 seen, std::optional<u64> until) {
  timespec limit{};
  if (until) {
    limit.tv_sec = static_cast<time_t>(*until / 1'000'000'000);
    limit.tv_nsec = static_cast<long>(*until % 1'000'000'000);
  }
  // Whoever sets a bit changes the word first and looks at asleep_ then: either it sees this, or the kernel
  // sees its bit.
  asleep_.store(true, std::memory_order_seq_cst);
  // SAFETY: the kernel compares an aligned word that lives as long as this; std::atomic<u32> is such a word.
  static_assert(sizeof word_ == sizeof(u32) && std::atomic<u32>::is_always_lock_free);
  ::syscall(SYS_futex, &word_, FUTEX_WAIT_BITSET_PRIVATE, seen, until ? &limit : nullptr, nullptr,
            FUTEX_BITSET_MATCH_ANY);
  asleep_.store(false, std::memory_order_relaxed);
  // What came before the bit that ended the sleep.
  static_cast<void>(word_.load(std::memory_order_acquire));
}

void Hazards::wake() {
  ::syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

}  // namespace vellum
