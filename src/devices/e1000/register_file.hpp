// Registers that are no more than stored: which bits of each software can write, and what a reset leaves.
// Statistics, which are cleared by reading, are among them.
//
// No lock: the controller's guards it.
#pragma once

#include <span>
#include <vector>

#include "devices/e1000/registers.hpp"

namespace vellum::e1000 {

class RegisterFile {
 public:
  RegisterFile() : values_(kRegistersEnd / 4) { reset(); }

  /// `offset`: a multiple of 4 below kRegistersEnd. What is not there is 0.
  u32 get(u32 offset) const { return values_[offset / 4]; }
  void put(u32 offset, u32 value) { values_[offset / 4] = value; }
  bool has(u32 offset, u32 bits) const { return (get(offset) & bits) != 0; }

  // GUEST-CONTROLLED: as software does it. Offsets beyond the end are there, and nothing is at them.
  u32 read(u32 offset);
  void write(u32 offset, u32 value);
  void reset();

  /// Counts in a statistic; it stays at the largest number.
  void count(u32 offset, u32 by = 1);
  /// The same for one of 64 bits, whose lower half is at `offset`.
  void count_wide(u32 offset, u64 by);

  /// What there is, in order of the offsets.
  std::vector<u32> values() const;
  /// Of saved values only what software can write and statistics are taken. Untrusted.
  void restore(std::span<const u32> saved);

 private:
  std::vector<u32> values_;
};

}  // namespace vellum::e1000
