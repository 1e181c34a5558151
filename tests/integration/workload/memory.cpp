// Memory: mmap in every form that needs the page tables changed under running code: protection flips,
// remapping, aliases of one page, code written and then run, huge areas touched sparsely, madvise.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "report.hpp"

namespace workload {
namespace {

constexpr std::size_t kPage = 4096;

// A function of one argument in a register: RDI, or EAX.
#ifdef __x86_64__
using Function = std::uint32_t(std::uint32_t);
constexpr unsigned char kAddArgument = 0x87;  // ModRM: EAX, [RDI + disp32]
#else
using Function = std::uint32_t __attribute__((regparm(1))) (std::uint32_t);
constexpr unsigned char kAddArgument = 0x80;  // EAX, [EAX + disp32]
#endif

std::uint64_t sparse() {
  constexpr std::size_t kSize = std::size_t{1} << (sizeof(void*) == 8 ? 32 : 30);
  auto* area = static_cast<unsigned char*>(
      mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (area == MAP_FAILED) return 0;
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < kSize; i += kSize / 256 + kPage) {
    sum += area[i];
    area[i] = static_cast<unsigned char>(i >> 16);
    sum = sum * 31 + area[i];
  }
  madvise(area, kSize, MADV_DONTNEED);
  for (std::size_t i = 0; i < kSize; i += kSize / 256 + kPage) sum += area[i];  // zero again
  munmap(area, kSize);
  return sum;
}

std::uint64_t protection_flips() {
  auto* page = static_cast<volatile unsigned char*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::uint64_t hash = 0;
  for (int i = 0; i < 200; ++i) {
    mprotect(const_cast<unsigned char*>(page), kPage, PROT_READ);
    hash = hash * 31 + page[i];
    mprotect(const_cast<unsigned char*>(page), kPage, PROT_READ | PROT_WRITE);
    page[i + 1] = static_cast<unsigned char>(hash + static_cast<unsigned>(i));
  }
  munmap(const_cast<unsigned char*>(page), kPage);
  return hash;
}

/// One page of a memfd at two addresses; then remapped to another while in use.
std::uint64_t aliases() {
  const int fd = memfd_create("aliases", 0);
  if (ftruncate(fd, 2 * kPage) != 0) return 0;
  auto* a =
      static_cast<volatile std::uint64_t*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  auto* b =
      static_cast<volatile std::uint64_t*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < 100; ++i) {
    a[i] = i * i;
    hash = hash * 31 + b[i];
    b[i] = b[i] + 3;
    hash = hash * 31 + a[i];
  }
  mmap(const_cast<std::uint64_t*>(b), kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, kPage);
  hash = hash * 31 + b[5] + a[5];
  b[5] = 1;
  hash = hash * 31 + a[5];
  void* moved = mremap(const_cast<std::uint64_t*>(a), kPage, 2 * kPage, MREMAP_MAYMOVE);
  hash =
      hash * 31 + static_cast<std::uint64_t*>(moved)[5] + static_cast<std::uint64_t*>(moved)[kPage / 8 + 5];
  close(fd);
  return hash;
}

/// Code that is written, run, rewritten and run again: in place, and through a second mapping of its page.
std::uint64_t written_code() {
  const int fd = memfd_create("code", 0);
  if (ftruncate(fd, kPage) != 0) return 0;
  auto* writable =
      static_cast<unsigned char*>(mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  auto* runnable =
      static_cast<unsigned char*>(mmap(nullptr, kPage, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0));
  std::uint64_t hash = 0;
  for (std::uint32_t i = 0; i < 300; ++i) {
    const unsigned char code[] = {0x8d, kAddArgument, 0, 0, 0, 0, 0xc3};  // lea eax, [argument + imm32]; ret
    unsigned char* at = writable + i % 5 * 16;
    std::memcpy(at, code, sizeof code);
    std::memcpy(at + 2, &i, 4);
    asm volatile("" ::: "memory");
    hash = hash * 31 + reinterpret_cast<Function*>(runnable + i % 5 * 16)(1000);
  }
  munmap(writable, kPage);
  munmap(runnable, kPage);
  close(fd);
  auto* both = static_cast<unsigned char*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  // The instruction's immediate lies across the page boundary and is patched by the routine's own first
  // instruction: mov byte [rip + 8 .. the last byte of the immediate], dil; mov eax, imm32; ret
#ifdef __x86_64__
  const unsigned char patching[] = {0x40, 0x88, 0x3d, 4, 0, 0, 0, 0xb8, 1, 2, 3, 4, 0xc3};
  unsigned char* at = both + kPage - 10;
  std::memcpy(at, patching, sizeof patching);
#else  // mov byte [the last byte of the immediate], al
  const unsigned char patching[] = {0xa2, 0, 0, 0, 0, 0xb8, 1, 2, 3, 4, 0xc3};
  unsigned char* at = both + kPage - 8;
  std::memcpy(at, patching, sizeof patching);
  const auto last = reinterpret_cast<std::uint32_t>(at + 9);
  std::memcpy(at + 1, &last, 4);
#endif
  for (std::uint32_t i = 0; i < 100; ++i) {
    hash = hash * 31 + reinterpret_cast<Function*>(at)(i);
  }
  munmap(both, 2 * kPage);
  return hash;
}

/// A page is unmapped and mapped anew while another thread of the process runs: shootdowns.
std::uint64_t shootdowns() {
  std::uint64_t hash = 0;
  for (int i = 0; i < 40; ++i) {
    auto* page = static_cast<unsigned char*>(
        mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    page[0] = static_cast<unsigned char>(i);
    std::thread other([page, &hash] { hash = hash * 31 + page[0]++; });
    other.join();
    mmap(page, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    std::thread again([page, &hash] { hash = hash * 31 + page[0]; });
    again.join();
    hash += page[0];
    munmap(page, kPage);
  }
  return hash;
}

}  // namespace

int memory() {
  report("memory.sparse", sparse());
  report("memory.protection", protection_flips());
  report("memory.aliases", aliases());
  report("memory.written_code", written_code());
  report("memory.shootdowns", shootdowns());
  return 0;
}

}  // namespace workload
