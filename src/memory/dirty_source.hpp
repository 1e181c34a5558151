// Who sees stores to guest memory that do not pass through this process: hardware's (memory/guest_ram.hpp has
// the dirty log that they come together in).
#pragma once

#include <span>

#include "base/int.hpp"

namespace vellum {

class DirtySource {
 public:
  virtual ~DirtySource() = default;
  /// From now on, or no longer: every page counts as clean.
  virtual void watch_stores(bool on) = 0;
  /// Sets the bits of the pages stored to since the last call, or since watch_stores(): bit n % 64 of word
  /// n / 64 is page n of the memfd.
  virtual void add_dirty_pages(std::span<u64> pages) = 0;
};

}  // namespace vellum
