// Which MSRs that this CPU model does not have a guest asked for, and how often: the first few by number.
#pragma once

#include <array>
#include <atomic>
#include <string>
#include <vector>

#include "base/stats.hpp"

namespace vellum {

class UnknownMsrs {
 public:
  void count_read(u32 msr) { find(msr).reads.add(); }
  void count_write(u32 msr) { find(msr).writes.add(); }

  /// One row for each number and direction seen, of `group`. Any thread.
  void stats(const std::string& group, std::vector<StatRow>& rows) const {
    for (const Entry& entry : entries_) {
      if (!entry.used.load(std::memory_order_acquire)) break;
      add_rows(group, fmt::format("MSR {:#x}", entry.msr), entry, rows);
    }
    add_rows(group, "further MSRs", others_, rows);
  }

 private:
  struct Entry {
    u32 msr = 0;                    // written before `used`, never changed
    std::atomic<bool> used{false};  // set by the vCPU's thread
    Counter reads, writes;
  };

  static void add_rows(const std::string& group, const std::string& what, const Entry& entry,
                       std::vector<StatRow>& rows) {
    if (entry.reads.get() != 0)
      rows.push_back({group, what + " read, which there is not: #GP", entry.reads.get(), 0});
    if (entry.writes.get() != 0)
      rows.push_back({group, what + " written, which there is not: #GP", entry.writes.get(), 0});
  }

  Entry& find(u32 msr) {
    for (Entry& entry : entries_) {
      if (!entry.used.load(std::memory_order_relaxed)) {
        entry.msr = msr;
        entry.used.store(true, std::memory_order_release);
        return entry;
      }
      if (entry.msr == msr) return entry;
    }
    return others_;
  }

  std::array<Entry, 32> entries_;
  Entry others_;
};

}  // namespace vellum
