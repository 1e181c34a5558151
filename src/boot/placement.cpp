#include "boot/placement.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "base/bits.hpp"

namespace vellum {
namespace {

bool within(GuestPhysRange outer, GuestPhysRange inner) {
  return inner.start >= outer.start && inner.start - outer.start <= outer.size &&
         inner.size <= outer.size - (inner.start - outer.start);
}

}  // namespace

Placement::Placement(GuestRam& ram, const std::vector<MemoryMapEntry>& map) : ram_(ram) {
  for (const MemoryMapEntry& entry : map) {
    if (entry.type != MemoryType::kUsable) continue;
    const GuestPhys start = std::max(entry.range.start, layout::kBootData);
    if (start < entry.range.end()) usable_.push_back({start, entry.range.end() - start});
  }
}

const Placement::Claim* Placement::overlapping(GuestPhysRange range) const {
  const auto found = std::ranges::find_if(claims_, [&](const Claim& claim) {
    return range.start < claim.range.end() && claim.range.start < range.end();
  });
  return found == claims_.end() ? nullptr : &*found;
}

Result<> Placement::claim(GuestPhysRange range, std::string what) {
  if (range.size == 0) return {};
  if (range.size > ~range.start.value)
    return fail(ErrorCode::kBadInput, "{} at {:#x} with {:#x} bytes wraps around the address space", what,
                range.start.value, range.size);
  if (std::ranges::none_of(usable_, [&](GuestPhysRange r) { return within(r, range); })) {
    const u64 end = range.end().value;
    if (range.start >= layout::kHighMemory && end > ram_.low_size() && end <= GuestRam::kLowRamLimit)
      return fail(
          ErrorCode::kBadInput,
          "needs memory up to {:#x} for its {}, but the machine has {} MiB: give it at least --memory {}M",
          end, what, ram_.size() >> 20, align_up(end, u64{1} << 20) >> 20);
    return fail(ErrorCode::kBadInput, "has its {} at {:#x}-{:#x}, where this machine has no free RAM", what,
                range.start.value, end);
  }
  if (const Claim* other = overlapping(range))
    return fail(ErrorCode::kBadInput, "has its {} at {:#x}-{:#x}, which overlaps the {} at {:#x}-{:#x}", what,
                range.start.value, range.end().value, other->what, other->range.start.value,
                other->range.end().value);
  claims_.push_back({range, std::move(what)});
  return {};
}

std::optional<GuestPhys> Placement::claim_lowest(u64 size, u64 alignment, GuestPhys min, GuestPhys max,
                                                 std::string what) {
  VELLUM_ASSERT(size > 0 && std::has_single_bit(alignment), "size {:#x} alignment {:#x}", size, alignment);
  for (const GuestPhysRange& region : usable_) {
    GuestPhys at(align_up(std::max(region.start, min).value, alignment));
    const GuestPhys end = std::min(region.end(), max);
    while (at < end && size <= end - at) {
      const Claim* other = overlapping({at, size});
      if (other == nullptr) {
        claims_.push_back({{at, size}, std::move(what)});
        return at;
      }
      at = GuestPhys(align_up(other->range.end().value, alignment));
    }
  }
  return std::nullopt;
}

std::optional<GuestPhys> Placement::claim_highest(u64 size, u64 alignment, GuestPhys min, GuestPhys max,
                                                  std::string what) {
  VELLUM_ASSERT(size > 0 && std::has_single_bit(alignment), "size {:#x} alignment {:#x}", size, alignment);
  for (auto region = usable_.rbegin(); region != usable_.rend(); ++region) {
    const GuestPhys start = std::max(region->start, min);
    GuestPhys end = std::min(region->end(), max);
    while (start < end && size <= end - start) {
      const GuestPhys at(align_down(end.value - size, alignment));
      if (at < start) break;
      const Claim* other = overlapping({at, size});
      if (other == nullptr) {
        claims_.push_back({{at, size}, std::move(what)});
        return at;
      }
      end = other->range.start;
    }
  }
  return std::nullopt;
}

Result<GuestPhys> Placement::put(std::span<const u8> bytes, u64 alignment, std::string what) {
  const u64 size = std::max<u64>(bytes.size(), 1);
  auto at = claim_lowest(size, alignment, layout::kBootData, layout::kEbda, what);
  if (!at) at = claim_lowest(size, alignment, layout::kHighMemory, GuestPhys(GuestRam::kLowRamLimit), what);
  if (!at)
    return fail(ErrorCode::kBadInput, "no {} bytes of guest memory are left for the {}: raise --memory", size,
                what);
  write(*at, bytes);
  return *at;
}

void Placement::write(GuestPhys to, std::span<const u8> bytes) {
  if (bytes.empty()) return;
  const auto target = ram_.bytes(to, bytes.size());
  VELLUM_ASSERT(target.size() == bytes.size(), "write of {:#x} bytes to unclaimed {:#x}", bytes.size(),
                to.value);
  ram_.will_use(target);
  std::memcpy(target.data(), bytes.data(), bytes.size());
  ram_.note_store(to, bytes.size());
}

void Placement::fill_zero(GuestPhysRange range) {
  if (range.size == 0) return;
  const auto target = ram_.bytes(range.start, range.size);
  VELLUM_ASSERT(target.size() == range.size, "fill of {:#x} bytes at unclaimed {:#x}", range.size,
                range.start.value);
  ram_.will_use(target);
  std::memset(target.data(), 0, target.size());
  ram_.note_store(range.start, range.size);
}

}  // namespace vellum
