// What lies behind guest-physical pages that are not simply RAM: the shadow area below 1 MiB, where chipset
// registers say for reads and for writes whether RAM or the bus answers, and blocks of memory that devices
// own (firmware in ROM or flash, a display's memory), which appear where the device's registers say.
//
//   0x000a_0000 … 0x000f_ffff  the shadow area, by 4 KiB pages: display window, option ROMs, BIOS
//   anywhere                   blocks; at most kMaxBlocks
//
// Everything is an offset into the memfd: first RAM, then the blocks. Look-ups take no lock and may run
// beside a change; they then see the page as it was or as it is. Changes are made under GuestRam's lock.
#pragma once

#include <array>
#include <atomic>

#include "base/address.hpp"

namespace vellum {

class Pmap {
 public:
  static constexpr u64 kShadowStart = 0xa0000, kShadowSize = 0x60000;
  static constexpr u64 kShadowPages = kShadowSize >> kPageShift;
  static constexpr unsigned kMaxBlocks = 8;
  /// In the place of an offset: nothing there, the access goes to the bus.
  static constexpr u64 kBus = ~u64{0};

  enum class Direction : u8 { kRead, kWrite };
  enum class Access : u8 {
    kNone,  ///< every access goes to the bus
    kRead,  ///< reads find the memory, writes go to the bus
    kReadWrite
  };

  /// The first `low_ram` bytes of the memfd are the RAM at address 0.
  explicit Pmap(u64 low_ram) {
    for (u64 n = 0; n < kShadowPages; ++n) {
      const u64 offset = kShadowStart + (n << kPageShift);
      set_shadow(n, offset < low_ram ? offset : kBus, offset < low_ram ? offset : kBus);
    }
  }

  static bool in_shadow(GuestPhys a) { return a.value - kShadowStart < kShadowSize; }

  /// The offset of `a`, which is neither RAM outside the shadow area nor a name (GuestRam), or kBus.
  u64 find(GuestPhys a, Direction direction) const {
    if (in_shadow(a)) {
      const auto& page = shadow_[(a.value - kShadowStart) >> kPageShift];
      const u64 offset =
          (direction == Direction::kRead ? page.reads : page.writes).load(std::memory_order_acquire);
      return offset == kBus ? kBus : offset + a.page_offset();
    }
    for (const Block& block : blocks_) {
      const u64 start = block.start.load(std::memory_order_acquire);
      if (a.value - start >= block.size.load(std::memory_order_relaxed)) continue;
      const Access access = block.access.load(std::memory_order_acquire);
      if (access == Access::kReadWrite || (access == Access::kRead && direction == Direction::kRead))
        return block.offset.load(std::memory_order_relaxed) + (a.value - start);
    }
    return kBus;
  }

  struct BlockPlace {
    GuestPhysRange range;
    u64 offset = 0;
    Access access = Access::kNone;
  };
  /// Under GuestRam's lock.
  BlockPlace block(unsigned index) const {
    const Block& b = blocks_[index];
    return {{GuestPhys(b.start.load(std::memory_order_relaxed)), b.size.load(std::memory_order_relaxed)},
            b.offset.load(std::memory_order_relaxed),
            b.access.load(std::memory_order_relaxed)};
  }

  void set_shadow(u64 page, u64 reads, u64 writes) {
    shadow_[page].reads.store(reads, std::memory_order_release);
    shadow_[page].writes.store(writes, std::memory_order_release);
  }

  void set_block(unsigned index, u64 offset, u64 size, GuestPhys start, Access access) {
    Block& block = blocks_[index];
    // Whoever looks on meanwhile finds nothing there rather than a mixture.
    block.access.store(Access::kNone, std::memory_order_seq_cst);
    block.offset.store(offset, std::memory_order_relaxed);
    block.size.store(size, std::memory_order_relaxed);
    block.start.store(start.value, std::memory_order_release);
    block.access.store(access, std::memory_order_seq_cst);
  }

 private:
  struct ShadowPage {
    std::atomic<u64> reads{kBus}, writes{kBus};
  };
  struct Block {
    std::atomic<u64> start{0}, size{0}, offset{0};
    std::atomic<Access> access{Access::kNone};
  };
  std::array<ShadowPage, kShadowPages> shadow_;
  std::array<Block, kMaxBlocks> blocks_;
};

}  // namespace vellum
