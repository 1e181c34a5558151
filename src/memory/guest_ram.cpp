#include "memory/guest_ram.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/assert.hpp"
#include "base/thread_barrier.hpp"

namespace vellum {
namespace {

// Code that was not decoded for so long has been translated if it runs at all; to do that again for the code
// of one page every so often is cheap.
constexpr u32 kOldMs = 100;

u32 now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
  return static_cast<u32>(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
}

}  // namespace

Result<std::unique_ptr<GuestRam>> GuestRam::create(u64 size, u64 block_room) {
  VELLUM_ASSERT(size > 0 && size % kPageSize == 0 && block_room % kPageSize == 0, "size {:#x}, blocks {:#x}",
                size, block_room);
  const u64 total = size + block_room;
  FileDescriptor fd(::memfd_create("vellum-guest-ram", MFD_CLOEXEC));
  if (!fd) return fail_errno("cannot create guest memory (memfd)", errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(total)) != 0)
    return fail_errno(fmt::format("cannot size guest memory to {} MiB", size >> 20), errno);
  // Guards on both sides, and room to begin RAM at a multiple of 2 MiB, as huge pages need.
  auto reserved =
      Mapping::create(total + 3 * kGuardSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (!reserved)
    return tl::unexpected(
        std::move(reserved).error().context(fmt::format("guest memory of {} MiB", size >> 20)));
  u8* const base =
      reserved->data() + kGuardSize + (-reinterpret_cast<u64>(reserved->data()) & (kGuardSize - 1));
  // SAFETY: MAP_FIXED, inside of what was just reserved.
  if (::mmap(base, total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd.get(), 0) ==
      MAP_FAILED)
    return fail_errno(fmt::format("cannot map guest memory of {} MiB", size >> 20), errno);
  ::madvise(base, size, MADV_HUGEPAGE);  // advice only; a host without it is merely slower
  ::madvise(base, total, MADV_DONTDUMP);
  return std::unique_ptr<GuestRam>(new GuestRam(std::move(fd), std::move(*reserved), base, size, block_room));
}

GuestRam::GuestRam(FileDescriptor fd, Mapping reserved, u8* base, u64 size, u64 block_room)
    : fd_(std::move(fd)),
      reserved_(std::move(reserved)),
      base_(base),
      size_(size),
      low_size_(std::min(size, kLowRamLimit)),
      high_size_(size - low_size_),
      block_room_(block_room),
      residency_(base, size + block_room, true),
      code_pages_(new CodePage[(size + block_room) >> kPageShift]),
      pmap_(low_size_) {}

std::vector<GuestPhysRange> GuestRam::ranges() const {
  std::vector<GuestPhysRange> ranges{{GuestPhys(0), low_size_}};
  if (high_size_ > 0) ranges.push_back({GuestPhys(kHighRamStart), high_size_});
  return ranges;
}

std::span<u8> GuestRam::bytes(GuestPhys start, u64 size) const {
  u64 offset = 0;
  if (start.value < low_size_) {
    if (size > low_size_ - start.value) return {};
    offset = start.value;
    // Of the shadow area only what is RAM in its own place.
    const u64 first = std::max(start.page_base().value, Pmap::kShadowStart);
    const u64 end = std::min(start.value + size, Pmap::kShadowStart + Pmap::kShadowSize);
    for (u64 page = first; page < end; page += kPageSize)
      if (pmap_.find(GuestPhys(page), Pmap::Direction::kRead) != page ||
          pmap_.find(GuestPhys(page), Pmap::Direction::kWrite) != page)
        return {};
  } else {
    const u64 high = start.value - kHighRamStart;
    if (high >= high_size_ || size > high_size_ - high) return {};
    offset = low_size_ + high;
  }
  return {base_ + offset, size};
}

unsigned GuestRam::add_block(u64 size) {
  VELLUM_ASSERT(size > 0 && size % kPageSize == 0 && size <= block_room_ - blocks_end_ &&
                    blocks_.size() < Pmap::kMaxBlocks,
                "a block of {:#x} bytes, {:#x} are left", size, block_room_ - blocks_end_);
  const std::lock_guard lock(code_mutex_);
  blocks_.push_back({size_ + blocks_end_, size});
  blocks_end_ += size;
  return static_cast<unsigned>(blocks_.size() - 1);
}

std::span<u8> GuestRam::block_bytes(unsigned block) const {
  return {base_ + blocks_.at(block).offset, blocks_.at(block).size};
}

void GuestRam::map_block(unsigned block, GuestPhys start, Pmap::Access access) {
  VELLUM_ASSERT(start.page_offset() == 0, "block at {:#x}", start.value);
  {
    const std::lock_guard lock(code_mutex_);
    pmap_.set_block(block, blocks_.at(block).offset, blocks_.at(block).size, start, access);
  }
  if (remapped_) remapped_();
}

u64 GuestRam::behind(const Behind& what, GuestPhys at, u64 from_start) const {
  switch (what.kind) {
    case Behind::Kind::kRam:
      return at.value < low_size_ ? at.value : Pmap::kBus;
    case Behind::Kind::kBlock: {
      const Block& block = blocks_.at(what.block);
      const u64 offset = what.offset + from_start;
      return offset < block.size ? block.offset + offset : Pmap::kBus;
    }
    case Behind::Kind::kBus:
      break;
  }
  return Pmap::kBus;
}

void GuestRam::map_shadow(GuestPhysRange range, Behind reads, Behind stores) {
  VELLUM_ASSERT(range.size > 0 && Pmap::in_shadow(range.start) && Pmap::in_shadow(range.end() - 1) &&
                    range.start.page_offset() == 0 && range.size % kPageSize == 0,
                "{:#x}+{:#x}", range.start.value, range.size);
  {
    const std::lock_guard lock(code_mutex_);
    for (u64 n = 0; n < range.size; n += kPageSize) {
      const GuestPhys at = range.start + n;
      pmap_.set_shadow((at.value - Pmap::kShadowStart) >> kPageShift, behind(reads, at, n),
                       behind(stores, at, n));
    }
  }
  if (remapped_) remapped_();
}

RamViews* GuestRam::views() {
  const std::lock_guard lock(code_mutex_);
  if (views_ == nullptr && !views_refused_) {
    auto views = RamViews::create(fd_.get(), size_ + block_room_, base_);
    views_refused_ = !views;
    if (views) views_ = std::move(*views);
    for (u64 page = 0; views && page < (size_ + block_room_) >> kPageShift; ++page)
      if (code_pages_[page].chunks.load(std::memory_order_relaxed) != 0) views_->protect(page << kPageShift);
  }
  return views_.get();
}

u32 GuestRam::track_code(GuestPhys a, u64 size) {
  CodePage& page = code_page(a);
  const u64 wanted = code_chunks(a.page_offset(), size);
  const std::lock_guard lock(code_mutex_);
  const u64 before = page.chunks.load(std::memory_order_relaxed);
  if ((before & wanted) != wanted) {
    page.chunks.fetch_or(wanted, std::memory_order_seq_cst);
    if (before == 0 && views_ != nullptr) views_->protect(page_number(page) << kPageShift);
    barrier_on_all_threads();
  }
  page.tracked_ms = now_ms();
  return page.generation.load(std::memory_order_acquire);
}

void GuestRam::watch_code(CodeWatcher& watcher) {
  const std::lock_guard lock(code_mutex_);
  code_watchers_.push_back(&watcher);
}

void GuestRam::unwatch_code(CodeWatcher& watcher) {
  const std::lock_guard lock(code_mutex_);
  std::erase(code_watchers_, &watcher);
}

// Under code_mutex_.
void GuestRam::raise_generation(CodePage& page) {
  page.generation.fetch_add(1, std::memory_order_release);
  for (CodeWatcher* watcher : code_watchers_) watcher->code_changed(page);
}

bool GuestRam::forget_old_code(GuestPhys a) {
  CodePage& page = code_page(a);
  const std::lock_guard lock(code_mutex_);
  if (page.chunks.load(std::memory_order_relaxed) == 0 || now_ms() - page.tracked_ms < kOldMs) return false;
  raise_generation(page);
  mark_dirty(page);
  page.chunks.store(0, std::memory_order_seq_cst);
  if (views_ != nullptr) views_->release(page_number(page) << kPageShift);
  return true;
}

bool GuestRam::note_store(GuestPhys a, u64 size) {
  bool hit = false;
  while (size > 0) {
    const u64 here = std::min(size, kPageSize - a.page_offset());
    CodePage& page = code_pages_[offset_of(a, Pmap::Direction::kWrite) >> kPageShift];
    const u64 touched = code_chunks(a.page_offset(), here);
    if ((page.chunks.load(std::memory_order_relaxed) & touched) != 0) {
      const std::lock_guard lock(code_mutex_);
      raise_generation(page);
      mark_dirty(page);
      // No code of this page is valid now, so it need not be watched, nor protected, until some is decoded
      // again. (All chunks: the dirty log's, which has seen it now.)
      const bool forget = views_ != nullptr || page.chunks.load(std::memory_order_relaxed) == ~u64{0};
      if (forget && page.chunks.exchange(0, std::memory_order_seq_cst) != 0 && views_ != nullptr)
        views_->release(page_number(page) << kPageShift);
      hit = true;
    }
    a += here;
    size -= here;
  }
  return hit;
}

}  // namespace vellum
