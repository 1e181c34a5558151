// Counters by kind. A counter is written by one thread (relaxed load and store, no locked instruction) and
// may be read by any, so that counting costs the guest an increment and reading costs it nothing.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "base/int.hpp"

namespace vellum {

class Counter {
 public:
  void add(u64 n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  u64 get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<u64> value_{0};
};

/// A counter that several threads write.
class SharedCounter {
 public:
  void add(u64 n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  u64 get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<u64> value_{0};
};

/// One line of the --stats table: "group  name  count  nanoseconds (0: not timed)".
struct StatRow {
  std::string group;  ///< "exits", "mmu", "interp", "interrupts", "device uart0", …
  std::string name;
  u64 count = 0;
  u64 ns = 0;
};

/// Whatever has counters. Thread-safe.
class StatSource {
 public:
  virtual ~StatSource() = default;
  virtual void stats(std::vector<StatRow>& rows) const = 0;
};

}  // namespace vellum
