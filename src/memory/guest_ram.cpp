#include "memory/guest_ram.hpp"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/assert.hpp"

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

// A full memory barrier on every running thread of this process. Without the expedited form (seccomp, old
// kernels) the slower global one does the same.
void barrier_on_all_threads() {
  static const bool registered =
      ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
  if (registered && ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0) return;
  ::syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

}  // namespace

Result<std::unique_ptr<GuestRam>> GuestRam::create(u64 size) {
  VELLUM_ASSERT(size > 0 && size % kPageSize == 0, "size {:#x}", size);
  FileDescriptor fd(::memfd_create("vellum-guest-ram", MFD_CLOEXEC));
  if (!fd) return fail_errno("cannot create guest memory (memfd)", errno);
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0)
    return fail_errno(fmt::format("cannot size guest memory to {} MiB", size >> 20), errno);
  // Guards on both sides, and room to begin RAM at a multiple of 2 MiB, as huge pages need.
  auto reserved =
      Mapping::create(size + 3 * kGuardSize, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (!reserved)
    return tl::unexpected(
        std::move(reserved).error().context(fmt::format("guest memory of {} MiB", size >> 20)));
  u8* const base =
      reserved->data() + kGuardSize + (-reinterpret_cast<u64>(reserved->data()) & (kGuardSize - 1));
  // SAFETY: MAP_FIXED, inside of what was just reserved.
  if (::mmap(base, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd.get(), 0) ==
      MAP_FAILED)
    return fail_errno(fmt::format("cannot map guest memory of {} MiB", size >> 20), errno);
  ::madvise(base, size, MADV_HUGEPAGE);  // advice only; a host without it is merely slower
  ::madvise(base, size, MADV_DONTDUMP);
  return std::unique_ptr<GuestRam>(new GuestRam(std::move(fd), std::move(*reserved), base, size));
}

GuestRam::GuestRam(FileDescriptor fd, Mapping reserved, u8* base, u64 size)
    : fd_(std::move(fd)),
      reserved_(std::move(reserved)),
      base_(base),
      size_(size),
      low_size_(std::min(size, kLowRamLimit)),
      high_size_(size - low_size_),
      code_pages_(new CodePage[size >> kPageShift]) {}

std::vector<GuestPhysRange> GuestRam::ranges() const {
  std::vector<GuestPhysRange> ranges{{GuestPhys(0), low_size_}};
  if (high_size_ > 0) ranges.push_back({GuestPhys(kHighRamStart), high_size_});
  return ranges;
}

std::span<u8> GuestRam::bytes(GuestPhys start, u64 size) const {
  if (start.value < low_size_)
    return size <= low_size_ - start.value ? std::span(host(start), size) : std::span<u8>();
  const u64 high = start.value - kHighRamStart;
  return high < high_size_ && size <= high_size_ - high ? std::span(host(start), size) : std::span<u8>();
}

const RamViews* GuestRam::views() {
  const std::lock_guard lock(code_mutex_);
  if (views_ == nullptr && !views_refused_) {
    auto views = RamViews::create(fd_.get(), size_, base_);
    views_refused_ = !views;
    if (views) views_ = std::move(*views);
    for (u64 page = 0; views && page < size_ >> kPageShift; ++page)
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
    if (before == 0 && views_ != nullptr) views_->protect(offset_of(a.page_base()));
    barrier_on_all_threads();
  }
  page.tracked_ms = now_ms();
  return page.generation.load(std::memory_order_acquire);
}

bool GuestRam::forget_old_code(GuestPhys a) {
  CodePage& page = code_page(a);
  const std::lock_guard lock(code_mutex_);
  if (page.chunks.load(std::memory_order_relaxed) == 0 || now_ms() - page.tracked_ms < kOldMs) return false;
  page.generation.fetch_add(1, std::memory_order_release);
  page.chunks.store(0, std::memory_order_seq_cst);
  if (views_ != nullptr) views_->release(offset_of(a.page_base()));
  return true;
}

bool GuestRam::note_store(GuestPhys a, u64 size) {
  bool hit = false;
  while (size > 0) {
    const u64 here = std::min(size, kPageSize - a.page_offset());
    CodePage& page = code_page(a);
    const u64 touched = code_chunks(a.page_offset(), here);
    if ((page.chunks.load(std::memory_order_relaxed) & touched) != 0) {
      const std::lock_guard lock(code_mutex_);
      page.generation.fetch_add(1, std::memory_order_release);
      // No code of this page is valid now, so it need not be watched, nor protected, until some is decoded
      // again.
      if (views_ != nullptr && page.chunks.exchange(0, std::memory_order_seq_cst) != 0)
        views_->release(offset_of(a.page_base()));
      hit = true;
    }
    a += here;
    size -= here;
  }
  return hit;
}

}  // namespace vellum
