#include "cpu/bt/fault_table.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <span>

#include "base/assert.hpp"

namespace vellum::bt {

namespace {

// No access that may fault is shorter than this, with what stands before the next one.
constexpr std::size_t kBytesPerRange = 4;

}  // namespace

FaultTable::FaultTable(std::size_t code_bytes) {
  auto mapping = Mapping::create(code_bytes / kBytesPerRange * sizeof(Range), PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  VELLUM_ASSERT(mapping, "no memory for a table of faults: {}", mapping.error().message);
  mapping_ = std::move(*mapping);
}

void FaultTable::add(u32 begin, u32 end, const Site& site) {
  const std::size_t n = count_.load(std::memory_order_relaxed);
  VELLUM_ASSERT((n + 1) * sizeof(Range) <= mapping_.size(), "{} places that may fault", n);
  // SAFETY: within the mapping, as was just checked; Range is an implicit-lifetime type.
  reinterpret_cast<Range*>(mapping_.data())[n] = {begin, end, &site};
  count_.store(n + 1, std::memory_order_release);
}

const Site* FaultTable::find(u32 offset) const {
  const std::span ranges(reinterpret_cast<const Range*>(mapping_.data()),
                         count_.load(std::memory_order_acquire));
  const auto range = std::upper_bound(ranges.begin(), ranges.end(), offset,
                                      [](u32 at, const Range& r) { return at < r.end; });
  return range == ranges.end() || offset < range->begin ? nullptr : range->site;
}

}  // namespace vellum::bt
