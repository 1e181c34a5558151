// A mapping of guest memory gets its host pages in pieces: one at a time is a fault each, and a dear one
// where the host is itself a guest without nested paging (docs/design/flat-table.md has figures). The first
// touch makes the 2 MiB around it one huge page, if the host does that for a memfd; else it asks for the
// chunk of 64 KiB. Disks gain most: a buffer is one piece for the host's disk then, not 256.
//
// What is used only in part costs host memory that the guest counts as its own anyway (docs/memory.md).
#pragma once

#include <atomic>
#include <memory>

#include "base/int.hpp"

namespace vellum {

class Residency {
 public:
  static constexpr u64 kChunkShift = 16;
  static constexpr u64 kChunk = u64{1} << kChunkShift;

  /// `size` bytes that are mapped at `base`. `stores`: pages that nobody has stored to yet are made, zeroed;
  /// else they are mapped only for reading where that differs.
  Residency(u8* base, u64 size, bool stores);

  /// The bytes at `offset`, which is less than the size, are about to be used. Advice only: it never fails.
  /// Any thread.
  void touch(u64 offset) {
    std::atomic<u64>& word = chunks_[offset >> (kChunkShift + 6)];
    const u64 bit = u64{1} << (offset >> kChunkShift & 63);
    if ((word.load(std::memory_order_relaxed) & bit) == 0) [[unlikely]]
      ask_for(offset, word, bit);
  }
  void touch_range(u64 offset, u64 size);

 private:
  void ask_for(u64 offset, std::atomic<u64>& word, u64 bit);

  u8* base_;
  u64 size_;
  int advice_;
  std::unique_ptr<std::atomic<u64>[]> chunks_;  ///< bit n of word m: chunk 64m + n was asked for
};

}  // namespace vellum
