// Which TLB entries count: each PCID has a stamp, global pages have one, and an entry counts while its stamp
// is the current PCID's or the global one. To flush is to give a new stamp; no entry is touched.
//
// Stamps are 32 bits and are used up in time. They then start over, and whoever holds entries must drop them
// all: every operation says whether that happened.
#pragma once

#include <algorithm>
#include <array>
#include <memory>

#include "base/assert.hpp"
#include "base/int.hpp"

namespace vellum {

class TlbStamps {
 public:
  static constexpr unsigned kPcids = 4096;
  static constexpr u32 kNone = 0;  ///< no entry has it

  /// Stamps stay below `limit`, at least 8.
  explicit TlbStamps(u32 limit) : limit_(limit), by_pcid_(std::make_unique<std::array<u32, kPcids>>()) {
    VELLUM_ASSERT(limit >= 8, "limit {}", limit);
    start_over();
  }

  u32 current() const { return current_; }
  u32 global() const { return global_; }
  /// The stamp of a PCID's entries, or kNone if it has none.
  u32 of(u16 pcid) const { return (*by_pcid_)[pcid] >= oldest_ ? (*by_pcid_)[pcid] : kNone; }
  u16 pcid() const { return pcid_; }

  // Each returns true if stamps started over.

  /// Entries of `pcid` count from now on, those it had before too.
  [[nodiscard]] bool switch_to(u16 pcid) {
    pcid_ = pcid;
    current_ = of(pcid);
    return current_ == kNone && renew(pcid);
  }
  /// Flushes one PCID's entries.
  [[nodiscard]] bool renew(u16 pcid) {
    if (pcid != pcid_) {
      (*by_pcid_)[pcid] = kNone;
      return false;
    }
    if (exhausted()) return start_over();
    current_ = (*by_pcid_)[pcid] = next_++;
    return false;
  }
  /// Flushes all PCIDs' entries, but not global ones.
  [[nodiscard]] bool renew_all_non_global() {
    oldest_ = next_;
    return renew(pcid_);
  }
  [[nodiscard]] bool renew_all() {
    if (exhausted()) return start_over();
    global_ = next_++;
    return renew_all_non_global();
  }

 private:
  bool exhausted() const { return next_ >= limit_ - 1; }
  bool start_over() {
    by_pcid_->fill(kNone);
    next_ = 1;
    global_ = next_++;
    oldest_ = next_;
    current_ = (*by_pcid_)[pcid_] = next_++;
    return true;
  }

  u32 limit_;
  u32 next_ = 1;
  u32 oldest_ = 1;  ///< a PCID's stamp below this one was flushed
  u32 current_ = 0, global_ = 0;
  u16 pcid_ = 0;
  std::unique_ptr<std::array<u32, kPcids>> by_pcid_;
};

}  // namespace vellum
