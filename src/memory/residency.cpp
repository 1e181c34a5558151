#include "memory/residency.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "base/bits.hpp"

namespace vellum {
namespace {

// Linux 5.14; older kernels refuse, and pages come one at a time there.
constexpr int kPopulateRead = 22, kPopulateWrite = 23;

}  // namespace

Residency::Residency(u8* base, u64 size, bool stores)
    : base_(base),
      size_(size),
      advice_(stores ? kPopulateWrite : kPopulateRead),
      chunks_(new std::atomic<u64>[(size >> (kChunkShift + 6)) + 1]()) {}

void Residency::ask_for(u64 offset, std::atomic<u64>& word, u64 bit) {
  if ((word.fetch_or(bit, std::memory_order_relaxed) & bit) != 0) return;
  const u64 begin = align_down(offset, kChunk);
  ::madvise(base_ + begin, std::min(kChunk, size_ - begin), advice_);
}

void Residency::touch_range(u64 offset, u64 size) {
  for (u64 at = align_down(offset, kChunk); at < offset + size; at += kChunk) touch(at);
}

}  // namespace vellum
