#include "cpu/bt/code_cache.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>

#include "base/assert.hpp"
#include "base/bits.hpp"

namespace vellum::bt {

// Shared anonymous memory: perf(1) takes names for code there from its map file (perf_map.hpp), but not for
// code in a memfd.
CodeCache::CodeCache(std::size_t bytes) : bytes_(bytes) {
  void* const writable =
      ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  VELLUM_ASSERT(writable != MAP_FAILED, "no memory for translated code: errno {}", errno);
  // An old size of 0 maps shared memory once more (mremap(2)).
  void* const executable = ::mremap(writable, 0, bytes, MREMAP_MAYMOVE);
  VELLUM_ASSERT(executable != MAP_FAILED && ::mprotect(executable, bytes, PROT_READ | PROT_EXEC) == 0,
                "translated code cannot be made executable: errno {}", errno);
  executable_ = static_cast<u8*>(executable);
  writable_ = static_cast<u8*>(writable);
}

CodeCache::~CodeCache() {
  ::munmap(executable_, bytes_);
  ::munmap(writable_, bytes_);
}

const u8* CodeCache::append(asmjit::CodeHolder& holder) {
  if (holder.flatten() != asmjit::kErrorOk || holder.resolveUnresolvedLinks() != asmjit::kErrorOk)
    return nullptr;
  const std::size_t used = this->used();
  const u8* const at = executable_ + used;
  if (holder.relocateToBase(reinterpret_cast<u64>(at)) != asmjit::kErrorOk) return nullptr;
  const std::size_t size = holder.codeSize();
  VELLUM_ASSERT(room_for(size), "{} bytes of code, {} more", used, size);
  // SAFETY: both mappings have bytes_ bytes; the sum was just checked.
  if (holder.copyFlattenedData(writable_ + used, size) != asmjit::kErrorOk) return nullptr;
  used_.store((used + size + 15) & ~std::size_t{15}, std::memory_order_relaxed);
  return at;
}

void CodeCache::patch32(const u8* at, u32 value) {
  const auto offset = static_cast<std::size_t>(at - executable_);
  VELLUM_ASSERT(offset + 4 <= used(), "patch at {} of {}", offset, used());
  publish();
  u8* const to = writable_ + offset;
  if (offset % 4 == 0)
    std::atomic_ref(*reinterpret_cast<u32*>(to)).store(value, std::memory_order_release);
  else
    std::memcpy(to, &value, 4);
}

void CodeCache::patch_jump(const u8* at, const u8* to) {
  const auto offset = static_cast<std::size_t>(at - executable_);
  VELLUM_ASSERT(offset + 8 <= used(), "patch at {} of {}", offset, used());
  publish();
  u64 bytes = 0;
  std::memcpy(&bytes, writable_ + offset, 8);
  const auto distance = static_cast<u32>(to - (at + 5));
  bytes = (bytes & ~low_mask(40)) | u64{distance} << 8 | 0xe9;
  if (offset % 8 == 0)
    std::atomic_ref(*reinterpret_cast<u64*>(writable_ + offset)).store(bytes, std::memory_order_release);
  else
    std::memcpy(writable_ + offset, &bytes, 8);
}

}  // namespace vellum::bt
