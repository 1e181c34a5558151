#include "memory/ram_views.hpp"

#include <sys/mman.h>

#include <cerrno>

#include "base/address.hpp"
#include "base/assert.hpp"
#include "base/log.hpp"
#include "memory/echoes.hpp"

namespace vellum {
namespace {

constexpr u64 kGuard = u64{2} << 20;
// An access to an absent page may begin at its last byte, cross, and share its slot with one 256 bytes away;
// save areas are never accessed this way.
constexpr u64 kNowhereBytes = 64 << 10;

u8* aligned(const std::vector<Mapping>& reserved) {
  u8* const begin = reserved.front().data();
  return begin + kGuard + (-reinterpret_cast<u64>(begin) & (kGuard - 1));
}

Result<std::vector<Mapping>> map_view(int memfd, u64 size, int protection) {
  VELLUM_TRY_ASSIGN(reserved, reserve_with_echoes(size + 3 * kGuard));
  u8* const base = aligned(reserved);
  // SAFETY: MAP_FIXED, inside of what was just reserved.
  if (::mmap(base, size, protection, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, memfd, 0) == MAP_FAILED)
    return fail_errno("cannot map a view of guest memory", errno);
  ::madvise(base, size, MADV_HUGEPAGE);
  ::madvise(base, size, MADV_DONTDUMP);
  return std::move(reserved);
}

}  // namespace

Result<std::unique_ptr<RamViews>> RamViews::create(int memfd, u64 size, u8* base) {
  VELLUM_TRY_ASSIGN(stores, map_view(memfd, size, PROT_READ | PROT_WRITE));
  VELLUM_TRY_ASSIGN(loads, map_view(memfd, size, PROT_READ));
  VELLUM_TRY_ASSIGN(nowhere, reserve_with_echoes(kNowhereBytes));
  return std::unique_ptr<RamViews>(
      new RamViews(std::move(stores), std::move(loads), std::move(nowhere), size, base));
}

RamViews::RamViews(Mappings stores, Mappings loads, Mappings nowhere, u64 size, u8* base)
    : stores_(std::move(stores)),
      loads_(std::move(loads)),
      nowhere_(std::move(nowhere)),
      size_(size),
      store_delta_(static_cast<u64>(aligned(stores_) - base)),
      load_delta_(static_cast<u64>(aligned(loads_) - base)),
      // Reading maps a shared page for stores too, where the page allows them.
      store_residency_(aligned(stores_), size, false),
      load_residency_(aligned(loads_), size, false) {}

bool RamViews::contains(const void* address) const {
  const auto* const a = static_cast<const u8*>(address);
  const auto within = [a](const Mapping& m) { return a >= m.data() && a < m.data() + m.size(); };
  return within(stores_.front()) || within(loads_.front());
}

void RamViews::protect(u64 offset) {
  if (all_protected_) return;
  // SAFETY: a page of our own mapping.
  if (::mprotect(aligned(stores_) + offset, kPageSize, PROT_READ) == 0) return;
  // Each run of pages is a mapping of the host's, of which a process may have vm.max_map_count.
  all_protected_ = true;
  const int status = ::mprotect(aligned(stores_), size_, PROT_READ);
  VELLUM_ASSERT(status == 0, "guest memory cannot be protected: errno {}", errno);
  spdlog::warn("the host allows no more memory mappings (vm.max_map_count); stores become slower");
}

void RamViews::release(u64 offset) {
  if (all_protected_) return;
  if (::mprotect(aligned(stores_) + offset, kPageSize, PROT_READ | PROT_WRITE) == 0) return;
  // The page stays read-only: a store there is slow, nothing else.
}

}  // namespace vellum
