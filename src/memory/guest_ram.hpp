// Guest RAM: one memfd for each VM, mapped shared so that other processes can map it too, and the pmap: what
// lies behind each guest-physical page.
//
//   guest-physical                         memfd offset
//   0x0000_0000 … lowmem_end               0 … lowmem_end            lowmem_end <= kLowRamLimit (3 GiB)
//   0x1_0000_0000 … 4 GiB + rest           lowmem_end … size
//
// Everything else (the PCI hole with APICs and firmware) is not RAM. Also here, because every store passes
// it: which 64-byte chunks of a page hold code that some engine has decoded or translated.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/address.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "memory/ram_views.hpp"

namespace vellum {

/// What an engine needs to notice that code changed, for one 4 KiB page of RAM.
struct CodePage {
  /// Bit n set: bytes 64n … 64n+63 were fetched as code. Set by engines; once there are views, a store to
  /// such a byte clears all.
  std::atomic<u64> chunks{0};
  /// Raised by every store that hit a chunk with code; decoded code remembers the value it was decoded under.
  std::atomic<u32> generation{0};
  /// When code was last decoded here: milliseconds of the host's monotonic clock, modulo 2^32. GuestRam's.
  u32 tracked_ms = 0;
};

class GuestRam {
 public:
  static constexpr u64 kLowRamLimit = u64{3} << 30;
  static constexpr u64 kHighRamStart = u64{4} << 30;
  /// On either side of RAM the host has this much inaccessible address space: an access of ours that misses
  /// RAM by little faults, and reaches nothing else.
  static constexpr u64 kGuardSize = u64{2} << 20;

  /// `size` in bytes, a positive multiple of 4 KiB. Fails with kHost when the host lacks the memory.
  static Result<std::unique_ptr<GuestRam>> create(u64 size);

  u64 size() const { return size_; }
  u64 low_size() const { return low_size_; }
  u64 high_size() const { return high_size_; }
  int memfd() const { return fd_.get(); }
  /// The RAM ranges in ascending order: one or two.
  std::vector<GuestPhysRange> ranges() const;

  /// The host address of a guest-physical one, or nullptr if it is not RAM. Good to the end of its 4 KiB
  /// page.
  u8* host(GuestPhys a) const {
    if (a.value < low_size_) return base_ + a.value;
    if (a.value - kHighRamStart < high_size_) return base_ + low_size_ + (a.value - kHighRamStart);
    return nullptr;
  }

  /// The host bytes of [start, start + size), or an empty span if any of it is not RAM or it wraps.
  std::span<u8> bytes(GuestPhys start, u64 size) const;

  /// The code-tracking record of a page of RAM; `a` must be RAM.
  CodePage& code_page(GuestPhys a) const { return code_pages_[offset_of(a) >> kPageShift]; }

  /// Announces that bytes [a, a+size) of one page are about to be decoded: later stores there raise the
  /// generation. Returns the generation to remember. A barrier on all threads of the process orders it
  /// against stores in flight (docs/design/self-modifying-code.md).
  u32 track_code(GuestPhys a, u64 size);

  /// Tells the tracker of a store of `size` bytes (within RAM, may cross pages) already made at `a`, by a
  /// device or by a vCPU's slow path. Returns whether it hit tracked code.
  bool note_store(GuestPhys a, u64 size);

  /// A store met a page that is protected for its code, at other bytes. If no code was decoded there lately,
  /// the page may serve another purpose now: its code is forgotten, as after a store to it. Whether that was
  /// done.
  bool forget_old_code(GuestPhys page);

  /// The views for translated code; nullptr if the host refuses them. Any thread.
  const RamViews* views();

  /// Held around a locked access that the host cannot make with one locked instruction (a page crossing,
  /// MMIO).
  std::mutex& split_lock() { return split_lock_; }

 private:
  GuestRam(FileDescriptor fd, Mapping reserved, u8* base, u64 size);
  u64 offset_of(GuestPhys page) const {
    return page.value < low_size_ ? page.value : low_size_ + (page.value - kHighRamStart);
  }

  FileDescriptor fd_;
  Mapping reserved_;  ///< RAM and the guards
  u8* base_;
  u64 size_;
  u64 low_size_;
  u64 high_size_;
  std::mutex split_lock_;
  std::mutex
      code_mutex_;  ///< changes of code_pages_ but for generations that invalidate() raises, and views_
  std::unique_ptr<CodePage[]> code_pages_;
  std::unique_ptr<RamViews> views_;
  bool views_refused_ = false;
};

/// The chunk bits that `size` bytes at page offset `offset` touch; offset + size <= 4096.
constexpr u64 code_chunks(u64 offset, u64 size) {
  const u64 first = offset >> 6;
  const u64 last = (offset + size - 1) >> 6;
  const u64 up_to_last = last == 63 ? ~u64{0} : (u64{1} << (last + 1)) - 1;
  return up_to_last & ~((u64{1} << first) - 1);
}

}  // namespace vellum
