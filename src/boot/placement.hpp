// Who gets which part of guest RAM at boot: claims that never overlap, and the copying into them.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "boot/memory_map.hpp"

namespace vellum {

class Placement {
 public:
  /// Free is what `map` calls usable, from layout::kBootData up. `ram` must outlive this.
  Placement(GuestRam& ram, const std::vector<MemoryMapEntry>& map);

  /// Takes exactly `range` for `what`. Fails with kBadInput when part of it is not usable RAM (the message
  /// says how much memory would do) or already taken (the message says by what). An empty range succeeds and
  /// takes nothing.
  Result<> claim(GuestPhysRange range, std::string what);

  /// Takes `size` (> 0) bytes, aligned to a power of two, within [min, max): the lowest or the highest that
  /// are free.
  std::optional<GuestPhys> claim_lowest(u64 size, u64 alignment, GuestPhys min, GuestPhys max,
                                        std::string what);
  std::optional<GuestPhys> claim_highest(u64 size, u64 alignment, GuestPhys min, GuestPhys max,
                                         std::string what);

  /// Boot data (below 640 KiB as long as it fits there, else anywhere below 4 GiB), filled with `bytes`.
  Result<GuestPhys> put(std::span<const u8> bytes, u64 alignment, std::string what);

  /// Copies into RAM; the target must have been claimed.
  void write(GuestPhys to, std::span<const u8> bytes);
  void fill_zero(GuestPhysRange range);

  GuestRam& ram() { return ram_; }

 private:
  struct Claim {
    GuestPhysRange range;
    std::string what;
  };
  const Claim* overlapping(GuestPhysRange range) const;

  GuestRam& ram_;
  std::vector<GuestPhysRange> usable_;  // ascending, disjoint
  std::vector<Claim> claims_;
};

}  // namespace vellum
