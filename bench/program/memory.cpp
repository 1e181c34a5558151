// What a kernel does for a process's memory, and the cheapest system call.
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "benchmark.hpp"

namespace bench {
namespace {

constexpr u32 kCalls = 20'000;

u64 system_call() {
  const auto parent = static_cast<u64>(::getppid());
  u64 same = 0;
  for (u32 n = 0; n < kCalls; ++n) same += static_cast<u64>(::syscall(SYS_getppid)) == parent;
  return same;
}

constexpr std::size_t kPage = 4096;
constexpr u32 kPages = 2048;

u8* map(std::size_t bytes) {
  void* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED) fail("mmap");
  return static_cast<u8*>(at);
}

u64 page_fault() {
  u8* pages = map(kPages * kPage);
  // One fault a page, whatever the kernel thinks of huge pages.
  if (::madvise(pages, kPages * kPage, MADV_NOHUGEPAGE) != 0) { /* a kernel without huge pages */
  }
  u64 sum = 0;
  for (u32 n = 0; n < kPages; ++n) sum += pages[n * kPage]++;
  for (u32 n = 0; n < kPages; ++n) sum += pages[n * kPage];
  ::munmap(pages, kPages * kPage);
  return sum;
}

constexpr u32 kMappings = 3'000;

u64 map_unmap() {
  u64 unmapped = 0;
  for (u32 n = 0; n < kMappings; ++n) {
    u8* pages = map(16 * kPage);
    pages[5 * kPage] = 1;
    unmapped += ::munmap(pages, 16 * kPage) == 0;
  }
  return unmapped;
}

constexpr Benchmark kAll[] = {
    {"syscall", "system call", "getppid", "call", kCalls, system_call},
    {"fault", "page fault", "first write to fresh pages", "page", kPages, page_fault},
    {"mmap", "kernel", "mmap, touch one page, munmap", "mapping", kMappings, map_unmap},
};

}  // namespace

std::span<const Benchmark> memory_benchmarks() {
  return kAll;
}

}  // namespace bench
