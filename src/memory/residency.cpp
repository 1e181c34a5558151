#include "memory/residency.hpp"

#include <sys/mman.h>

#include <algorithm>

#include "base/address.hpp"
#include "base/bits.hpp"

namespace vellum {
namespace {

// Linux 5.14; older kernels refuse, and pages come one at a time there.
constexpr int kPopulateRead = 22, kPopulateWrite = 23;
// Linux 6.1; older ones refuse.
constexpr int kCollapse = 25;

constexpr u64 kBlock = u64{2} << 20;
constexpr u64 kChunksOfBlock = (u64{1} << (kBlock >> Residency::kChunkShift)) - 1;

// Of the host, whichever machine it was for: one that has no such pages is not asked for each block.
constexpr unsigned kMostRefusals = 8;
std::atomic<unsigned> refusals{0};

// One huge page. It cannot be made of nothing, so a small one comes first.
bool make_block(u8* block) {
  if (refusals.load(std::memory_order_relaxed) >= kMostRefusals) return false;
  if (::madvise(block, kPageSize, kPopulateWrite) == 0 && ::madvise(block, kBlock, kCollapse) == 0)
    return true;
  refusals.fetch_add(1, std::memory_order_relaxed);
  return false;
}

}  // namespace

Residency::Residency(u8* base, u64 size, bool stores)
    : base_(base),
      size_(size),
      advice_(stores ? kPopulateWrite : kPopulateRead),
      chunks_(new std::atomic<u64>[(size >> (kChunkShift + 6)) + 1]()) {}

void Residency::ask_for(u64 offset, std::atomic<u64>& word, u64 bit) {
  if ((word.fetch_or(bit, std::memory_order_relaxed) & bit) != 0) return;
  const u64 block = align_down(offset, kBlock);
  if (advice_ == kPopulateWrite && size_ - block >= kBlock && make_block(base_ + block)) {
    word.fetch_or(kChunksOfBlock << (block >> kChunkShift & 63), std::memory_order_relaxed);
    return;
  }
  const u64 begin = align_down(offset, kChunk);
  ::madvise(base_ + begin, std::min(kChunk, size_ - begin), advice_);
}

void Residency::touch_range(u64 offset, u64 size) {
  for (u64 at = align_down(offset, kChunk); at < offset + size; at += kChunk) touch(at);
}

}  // namespace vellum
