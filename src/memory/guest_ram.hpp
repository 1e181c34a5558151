// Guest RAM: one memfd for each VM, mapped shared so that other processes can map it too, and the pmap: what
// lies behind each guest-physical page.
//
//   guest-physical                         memfd offset
//   0x0000_0000 … lowmem_end               0 … lowmem_end            lowmem_end <= kLowRamLimit (3 GiB)
//   0x1_0000_0000 … 4 GiB + rest           lowmem_end … size
//
// Behind RAM the memfd holds blocks of other memory (ROM, flash, a display's), which devices put where their
// registers say; they and the area from 640 KiB to 1 MiB are Pmap's matter. Everything else (the PCI hole
// with APICs) is not memory. Also here, because every store passes it: which 64-byte chunks of a page hold
// code that some engine has decoded or translated.
//
// A page of memory may be found at several guest-physical addresses, and may move. What an engine keeps about
// a page it therefore keeps by the page's *name*: for RAM its address, for a page of a block an address of
// its own from kFirstName on, where no processor can reach, which this class takes as an address everywhere.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/address.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "memory/dirty_source.hpp"
#include "memory/pmap.hpp"
#include "memory/ram_views.hpp"
#include "memory/residency.hpp"

namespace vellum {

/// What an engine needs to notice that code changed, for one 4 KiB page of RAM.
struct CodePage {
  /// Bit n set: bytes 64n … 64n+63 were fetched as code, or a store to them is the dirty log's business. Set
  /// by engines; once there are views, or a dirty log, a store to such a byte clears all.
  std::atomic<u64> chunks{0};
  /// Raised by every store that hit a chunk with code; decoded code remembers the value it was decoded under.
  std::atomic<u32> generation{0};
  /// When code was last decoded here: milliseconds of the host's monotonic clock, modulo 2^32. GuestRam's.
  u32 tracked_ms = 0;
};

/// Who keeps code beyond the check of its generation.
class CodeWatcher {
 public:
  virtual ~CodeWatcher() = default;
  /// The page's generation was raised by a store. On whatever thread stored, under GuestRam's lock: to be
  /// noted only.
  virtual void code_changed(const CodePage& page) = 0;
};

class GuestRam {
 public:
  static constexpr u64 kLowRamLimit = u64{3} << 30;
  static constexpr u64 kHighRamStart = u64{4} << 30;
  /// On either side of RAM the host has this much inaccessible address space: an access of ours that misses
  /// RAM by little faults, and reaches nothing else.
  static constexpr u64 kGuardSize = u64{2} << 20;
  /// Above every address that a processor has (MAXPHYADDR <= 52).
  static constexpr u64 kFirstName = u64{1} << 52;

  /// `size` in bytes, a positive multiple of 4 KiB, as `block_room`, what all blocks together may take. Fails
  /// with kHost when the host lacks the memory.
  static Result<std::unique_ptr<GuestRam>> create(u64 size, u64 block_room = 0);

  u64 size() const { return size_; }
  u64 low_size() const { return low_size_; }
  u64 high_size() const { return high_size_; }
  u64 block_room() const { return block_room_; }
  int memfd() const { return fd_.get(); }
  /// The RAM ranges in ascending order: one or two.
  std::vector<GuestPhysRange> ranges() const;

  /// The host address where a read of `a` finds its bytes, or nullptr if it goes to the bus. Good to the end
  /// of its 4 KiB page. Stores may go elsewhere: store_host().
  u8* host(GuestPhys a) const { return at(offset_of(a, Pmap::Direction::kRead)); }
  /// The host address of what a store to `a` changes, or nullptr if it goes to the bus.
  u8* store_host(GuestPhys a) const { return at(offset_of(a, Pmap::Direction::kWrite)); }
  /// The name of the page that `host`, a result of one of the above, is in, and the byte's offset.
  GuestPhys name_of(const u8* host) const {
    const auto offset = static_cast<u64>(host - base_);
    if (offset < low_size_) return GuestPhys(offset);
    return GuestPhys(offset < size_ ? offset - low_size_ + kHighRamStart : offset - size_ + kFirstName);
  }

  /// Where `host`, a result of one of the above, is in the memfd: for views of it.
  u64 offset_in_memory(const u8* host) const { return static_cast<u64>(host - base_); }

  /// The host bytes of [start, start + size), or an empty span if any of it is not RAM for reads and stores
  /// alike, or it wraps.
  std::span<u8> bytes(GuestPhys start, u64 size) const;

  /// `host`, a result of one of the above, is about to be accessed for the first time in a while: the host's
  /// pages around it are made ready (Residency). Advice only. Any thread.
  void will_use(const u8* host) { residency_.touch(static_cast<u64>(host - base_)); }
  void will_use(std::span<const u8> bytes) {
    if (!bytes.empty()) residency_.touch_range(static_cast<u64>(bytes.data() - base_), bytes.size());
  }

  /// The code-tracking record of a page of memory; reads at `a` must find some.
  CodePage& code_page(GuestPhys a) const {
    return code_pages_[offset_of(a, Pmap::Direction::kRead) >> kPageShift];
  }
  /// The page's bytes.
  const u8* host(const CodePage& page) const { return base_ + (page_number(page) << kPageShift); }

  // --- What is not simply RAM. Any thread; whoever caches translations must drop them: on_remap(). ---
  /// A block of zeroes within the room asked for, `size` a multiple of 4 KiB, not mapped anywhere. While
  /// building.
  unsigned add_block(u64 size);
  std::span<u8> block_bytes(unsigned block) const;
  /// Where block `block` is found and for what; an earlier place is given up. `start` is a multiple of 4 KiB.
  /// Where blocks overlap the first one counts, and RAM goes before all.
  void map_block(unsigned block, GuestPhys start, Pmap::Access access);

  /// What a range of the shadow area is for one direction of access.
  struct Behind {
    enum class Kind : u8 { kBus, kRam, kBlock } kind = Kind::kBus;
    unsigned block = 0;
    u64 offset = 0;  ///< in the block, of the range's first byte
  };
  /// `range`: whole pages within the shadow area. RAM that the machine lacks there is the bus.
  void map_shadow(GuestPhysRange range, Behind reads, Behind stores);

  /// `changed` runs after each change, on the thread that made it. Before the machine runs.
  void on_remap(std::function<void()> changed) { remapped_ = std::move(changed); }

  /// A run of guest-physical pages in which reads find memory, in one piece of the host's.
  struct Piece {
    GuestPhysRange range;
    u8* host = nullptr;
    bool stores = true;  ///< reach the same memory; else they are the bus's, or go elsewhere
    bool operator==(const Piece&) const = default;
  };
  /// All of them, ascending, as few as can be: for who hands memory on as a whole.
  std::vector<Piece> pieces() const;

  // --- The dirty log: which pages of memory are stored to. Any thread, but one caller at a time. ---
  /// `source` sees stores that do not come by here. Before the machine runs, and until it is gone.
  void add_dirty_source(DirtySource& source);
  void remove_dirty_source(DirtySource& source);
  /// From now on; every page counts as clean.
  void start_dirty_log();
  void stop_dirty_log();
  /// The pages stored to since the last call, or since the log was started: bit n % 64 of word n / 64 is page
  /// n of the memfd. What is read from a page afterwards is no older than the store that made it dirty; a
  /// store that comes later is in the next answer.
  std::vector<u64> take_dirty_pages();

  /// Announces that bytes [a, a+size) of one page are about to be decoded: later stores there raise the
  /// generation. Returns the generation to remember. A barrier on all threads of the process orders it
  /// against stores in flight (docs/design/self-modifying-code.md).
  u32 track_code(GuestPhys a, u64 size);

  /// Tells the tracker of a store of `size` bytes (all in memory, may cross pages) already made at `a`, by a
  /// device or by a vCPU's slow path. Returns whether it hit tracked code.
  bool note_store(GuestPhys a, u64 size);

  /// From now on until forgotten, `watcher` is told of each store that hit tracked code. Any thread.
  void watch_code(CodeWatcher& watcher);
  void unwatch_code(CodeWatcher& watcher);

  /// A store met a page that is protected for its code, at other bytes. If no code was decoded there lately,
  /// the page may serve another purpose now: its code is forgotten, as after a store to it. Whether that was
  /// done.
  bool forget_old_code(GuestPhys page);

  /// The views for translated code; nullptr if the host refuses them. Any thread.
  RamViews* views();

  /// Held around a locked access that the host cannot make with one locked instruction (a page crossing,
  /// MMIO).
  std::mutex& split_lock() { return split_lock_; }

 private:
  GuestRam(FileDescriptor fd, Mapping reserved, u8* base, u64 size, u64 block_room);
  u64 offset_of(GuestPhys a, Pmap::Direction direction) const {
    if (a.value < low_size_ && !Pmap::in_shadow(a)) [[likely]]
      return a.value;
    if (a.value - kHighRamStart < high_size_) return low_size_ + (a.value - kHighRamStart);
    if (a.value - kFirstName < block_room_) return size_ + (a.value - kFirstName);
    return pmap_.find(a, direction);
  }
  void raise_generation(CodePage& page);
  /// Under code_mutex_.
  void mark_dirty(const CodePage& page) {
    if (!dirty_.empty()) dirty_[page_number(page) / 64] |= u64{1} << page_number(page) % 64;
  }
  void watch_stores_to(u64 page);
  u64 page_number(const CodePage& page) const { return static_cast<u64>(&page - code_pages_.get()); }
  u8* at(u64 offset) const { return offset == Pmap::kBus ? nullptr : base_ + offset; }
  struct Block {
    u64 offset, size;
  };
  u64 behind(const Behind& what, GuestPhys at, u64 from_start) const;

  FileDescriptor fd_;
  Mapping reserved_;  ///< RAM and the guards
  u8* base_;
  u64 size_;
  u64 low_size_;
  u64 high_size_;
  u64 block_room_;
  Residency residency_;  ///< of the main mapping
  std::mutex split_lock_;
  mutable std::mutex code_mutex_;  ///< changes of code_pages_ but for generations that invalidate() raises,
                                   ///< views_, pmap_, blocks_, dirty_
  std::unique_ptr<CodePage[]> code_pages_;
  std::vector<CodeWatcher*> code_watchers_;  ///< code_mutex_
  std::unique_ptr<RamViews> views_;
  bool views_refused_ = false;
  std::vector<u64> dirty_;  ///< empty: there is no log
  std::vector<DirtySource*> dirty_sources_;
  Pmap pmap_;
  std::vector<Block> blocks_;
  u64 blocks_end_ = 0;  ///< of the room: what is taken
  std::function<void()> remapped_;
};

/// The chunk bits that `size` bytes at page offset `offset` touch; offset + size <= 4096.
constexpr u64 code_chunks(u64 offset, u64 size) {
  const u64 first = offset >> 6;
  const u64 last = (offset + size - 1) >> 6;
  const u64 up_to_last = last == 63 ? ~u64{0} : (u64{1} << (last + 1)) - 1;
  return up_to_last & ~((u64{1} << first) - 1);
}

}  // namespace vellum
