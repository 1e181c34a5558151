#include "memory/guest_ram.hpp"

#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/assert.hpp"

namespace vellum {
namespace {

// A full memory barrier on every running thread of this process. Without the expedited form (seccomp, old kernels)
// the slower global one does the same.
void barrier_on_all_threads() {
  static const bool registered = ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
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
  auto mapping = Mapping::create(size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd.get());
  if (!mapping)
    return tl::unexpected(std::move(mapping).error().context(fmt::format("guest memory of {} MiB", size >> 20)));
  ::madvise(mapping->data(), size, MADV_HUGEPAGE);  // advice only; a host without it is merely slower
  ::madvise(mapping->data(), size, MADV_DONTDUMP);
  return std::unique_ptr<GuestRam>(
      new GuestRam(std::move(fd), std::move(*mapping), std::min(size, kLowRamLimit)));
}

GuestRam::GuestRam(FileDescriptor fd, Mapping mapping, u64 low_size)
    : fd_(std::move(fd)),
      mapping_(std::move(mapping)),
      low_size_(low_size),
      high_size_(mapping_.size() - low_size),
      code_pages_(new CodePage[mapping_.size() >> kPageShift]) {}

std::vector<GuestPhysRange> GuestRam::ranges() const {
  std::vector<GuestPhysRange> ranges{{GuestPhys(0), low_size_}};
  if (high_size_ > 0) ranges.push_back({GuestPhys(kHighRamStart), high_size_});
  return ranges;
}

std::span<u8> GuestRam::bytes(GuestPhys start, u64 size) const {
  for (const GuestPhysRange& range : ranges()) {
    if (range.contains(start) && size <= range.size - (start - range.start)) return {host(start), size};
  }
  return {};
}

u32 GuestRam::track_code(GuestPhys a, u64 size) {
  CodePage& page = code_page(a);
  const u64 wanted = code_chunks(a.page_offset(), size);
  if ((page.chunks.load(std::memory_order_relaxed) & wanted) != wanted) {
    page.chunks.fetch_or(wanted, std::memory_order_seq_cst);
    barrier_on_all_threads();
  }
  return page.generation.load(std::memory_order_acquire);
}

bool GuestRam::note_store(GuestPhys a, u64 size) {
  bool hit = false;
  while (size > 0) {
    const u64 here = std::min(size, kPageSize - a.page_offset());
    CodePage& page = code_page(a);
    if ((page.chunks.load(std::memory_order_relaxed) & code_chunks(a.page_offset(), here)) != 0) {
      page.generation.fetch_add(1, std::memory_order_release);
      hit = true;
    }
    a += here;
    size -= here;
  }
  return hit;
}

}  // namespace vellum
