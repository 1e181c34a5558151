// GuestRam's memory in pieces, as reads find it: RAM, the shadow area page by page, then blocks where neither
// of these nor an earlier block is.
#include <algorithm>

#include "memory/guest_ram.hpp"

namespace vellum {
namespace {

using Ranges = std::vector<GuestPhysRange>;

/// What is left of each range without `hole`.
Ranges without(const Ranges& ranges, GuestPhysRange hole) {
  Ranges left;
  for (const GuestPhysRange& r : ranges) {
    const u64 start = r.start.value, end = start + r.size;
    const u64 hole_start = std::clamp(hole.start.value, start, end);
    const u64 hole_end = std::clamp(hole.start.value + hole.size, hole_start, end);
    if (hole_start > start) left.push_back({r.start, hole_start - start});
    if (end > hole_end) left.push_back({GuestPhys(hole_end), end - hole_end});
  }
  return left;
}

bool goes_on(const GuestRam::Piece& a, const GuestRam::Piece& b) {
  return a.range.end() == b.range.start && a.host + a.range.size == b.host && a.stores == b.stores;
}

}  // namespace

std::vector<GuestRam::Piece> GuestRam::pieces() const {
  constexpr GuestPhysRange kShadow{GuestPhys(Pmap::kShadowStart), Pmap::kShadowSize};
  const std::lock_guard lock(code_mutex_);
  std::vector<Piece> all;
  const auto add = [&](GuestPhysRange range, u64 offset, bool stores) {
    if (range.size != 0) all.push_back({range, base_ + offset, stores});
  };
  const GuestPhysRange low{GuestPhys(0), low_size_}, high{GuestPhys(kHighRamStart), high_size_};
  for (const GuestPhysRange& r : without({low}, kShadow)) add(r, r.start.value, true);
  for (u64 n = 0; n < Pmap::kShadowSize; n += kPageSize) {
    const u64 reads = pmap_.find(kShadow.start + n, Pmap::Direction::kRead);
    const u64 stores = pmap_.find(kShadow.start + n, Pmap::Direction::kWrite);
    if (reads != Pmap::kBus) add({kShadow.start + n, kPageSize}, reads, reads == stores);
  }
  add(high, low_size_, true);
  Ranges taken{low, kShadow, high};
  for (unsigned n = 0; n < blocks_.size(); ++n) {
    const Pmap::BlockPlace place = pmap_.block(n);
    if (place.access == Pmap::Access::kNone) continue;
    // GUEST-CONTROLLED: a base register. No processor reaches beyond.
    if (place.range.start.value >= kFirstName || place.range.size > kFirstName - place.range.start.value)
      continue;
    Ranges free{place.range};
    for (const GuestPhysRange& r : taken) free = without(free, r);
    for (const GuestPhysRange& r : free)
      add(r, place.offset + (r.start.value - place.range.start.value),
          place.access == Pmap::Access::kReadWrite);
    taken.push_back(place.range);
  }
  std::ranges::sort(all, {}, [](const Piece& p) { return p.range.start.value; });
  std::vector<Piece> joined;
  for (const Piece& piece : all) {
    if (!joined.empty() && goes_on(joined.back(), piece))
      joined.back().range.size += piece.range.size;
    else
      joined.push_back(piece);
  }
  return joined;
}

}  // namespace vellum
