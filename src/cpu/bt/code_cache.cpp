#include "cpu/bt/code_cache.hpp"

#include <cstring>

#include "base/assert.hpp"

namespace vellum::bt {

CodeCache::CodeCache(std::size_t bytes) : bytes_(bytes) {
  asmjit::VirtMem::DualMapping mapping{};
  const auto error =
      asmjit::VirtMem::allocDualMapping(&mapping, bytes, asmjit::VirtMem::MemoryFlags::kAccessRWX);
  VELLUM_ASSERT(error == asmjit::kErrorOk, "no memory for translated code: {}",
                asmjit::DebugUtils::errorAsString(error));
  executable_ = static_cast<u8*>(mapping.rx);
  writable_ = static_cast<u8*>(mapping.rw);
}

CodeCache::~CodeCache() {
  asmjit::VirtMem::DualMapping mapping{executable_, writable_};
  asmjit::VirtMem::releaseDualMapping(&mapping, bytes_);
}

const u8* CodeCache::append(asmjit::CodeHolder& holder) {
  if (holder.flatten() != asmjit::kErrorOk || holder.resolveUnresolvedLinks() != asmjit::kErrorOk)
    return nullptr;
  const u8* const at = executable_ + used_;
  if (holder.relocateToBase(reinterpret_cast<u64>(at)) != asmjit::kErrorOk) return nullptr;
  const std::size_t size = holder.codeSize();
  VELLUM_ASSERT(room_for(size), "{} bytes of code, {} more", used_, size);
  // SAFETY: both mappings have bytes_ bytes; the sum was just checked.
  if (holder.copyFlattenedData(writable_ + used_, size) != asmjit::kErrorOk) return nullptr;
  used_ = (used_ + size + 15) & ~std::size_t{15};
  return at;
}

void CodeCache::patch32(const u8* at, u32 value) {
  const auto offset = static_cast<std::size_t>(at - executable_);
  VELLUM_ASSERT(offset + 4 <= used_, "patch at {} of {}", offset, used_);
  std::memcpy(writable_ + offset, &value, 4);
}

}  // namespace vellum::bt
