// The formats of paging structures as policies of one walker (SDM vol. 3A §4.3, §4.4, §4.5).
//
// A format says how wide an entry is, how many levels there are, where the walk starts, which entries map a
// page themselves, which bits must be zero and where the address stands. Levels count from 0 (page table)
// upwards; level n translates the linear address from bit 12 + n * kIndexBits.
#pragma once

#include <algorithm>
#include <array>

#include "base/address.hpp"
#include "base/bits.hpp"
#include "cpu/mmu/walk.hpp"

namespace vellum::paging {

/// Bits that every format has in the same place.
namespace pte {
inline constexpr u64 kPresent = bit(0), kWritable = bit(1), kUser = bit(2), kAccessed = bit(5),
                     kDirty = bit(6), kPageSize = bit(7), kGlobal = bit(8), kNoExecute = bit(63);
}

/// What the control registers say about the walk.
struct Controls {
  u64 cr3;
  const std::array<u64, 4>& pdpte;
  bool pse;  ///< CR4.PSE: 32-bit paging's 4 MiB pages
  bool nxe;  ///< EFER.NXE
  const PagingFeatures& features;

  /// Bits high … MAXPHYADDR, where an address would stand that the processor does not have.
  u64 beyond_physical(unsigned high) const { return low_mask(high + 1) & ~low_mask(features.physical_bits); }
};

/// 4-level paging: PML4, page-directory-pointer table, page directory, page table (§4.5, tables 4-14 to
/// 4-20).
struct FourLevel {
  using Entry = u64;
  static constexpr unsigned kLevels = 4, kIndexBits = 9, kLinearBits = 48;
  static constexpr bool kHasNoExecute = true;

  static bool root(const Controls& c, u64 /*linear*/, u64& table) {
    table = c.cr3 & low_mask(c.features.physical_bits) & ~kPageMask;
    return true;
  }
  static bool maps_page(const Controls& c, unsigned level, Entry e) {
    return level == 0 || ((e & pte::kPageSize) != 0 && (level == 1 || (level == 2 && c.features.gib_pages)));
  }
  static u64 reserved(const Controls& c, unsigned level, bool leaf) {
    u64 mask = c.beyond_physical(51) | (c.nxe ? 0 : pte::kNoExecute);
    if (level == 3 || (level == 2 && !c.features.gib_pages)) mask |= pte::kPageSize;
    if (leaf && level == 1) mask |= low_mask(21) & ~low_mask(13);
    if (leaf && level == 2) mask |= low_mask(30) & ~low_mask(13);
    return mask;
  }
  static u64 address(Entry e, unsigned level) {
    return e & low_mask(52) & ~low_mask(12 + level * kIndexBits);
  }
  static u64 table(Entry e) { return address(e, 0); }
};

/// PAE paging: four PDPTE registers, page directory, page table (§4.4, tables 4-8 to 4-11).
struct Pae {
  using Entry = u64;
  static constexpr unsigned kLevels = 2, kIndexBits = 9, kLinearBits = 30;  // below a PDPTE
  static constexpr bool kHasNoExecute = true;

  static bool root(const Controls& c, u64 linear, u64& table) {
    const u64 pdpte = c.pdpte[bits(linear, 31, 30)];
    table = address(pdpte, 0);
    return (pdpte & pte::kPresent) != 0;
  }
  static bool maps_page(const Controls&, unsigned level, Entry e) {
    return level == 0 || (e & pte::kPageSize) != 0;
  }
  static u64 reserved(const Controls& c, unsigned level, bool leaf) {
    u64 mask = c.beyond_physical(62) | (c.nxe ? 0 : pte::kNoExecute);
    if (leaf && level == 1) mask |= low_mask(21) & ~low_mask(13);
    return mask;
  }
  static u64 address(Entry e, unsigned level) {
    return e & low_mask(52) & ~low_mask(12 + level * kIndexBits);
  }
  static u64 table(Entry e) { return address(e, 0); }
};

/// 32-bit paging: page directory, page table; 4 MiB pages with PSE-36 (§4.3, tables 4-3 to 4-6).
struct ThirtyTwoBit {
  using Entry = u32;
  static constexpr unsigned kLevels = 2, kIndexBits = 10, kLinearBits = 32;
  static constexpr bool kHasNoExecute = false;

  static bool root(const Controls& c, u64 /*linear*/, u64& table) {
    table = c.cr3 & 0xfffff000;
    return true;
  }
  static bool maps_page(const Controls& c, unsigned level, Entry e) {
    return level == 0 || (c.pse && (e & pte::kPageSize) != 0);
  }
  // A 4 MiB page's address: bits 31:22 in place, bits 39:32 in bits 20:13. Of those, what lies beyond
  // MAXPHYADDR is reserved, as is bit 21.
  static u64 reserved(const Controls& c, unsigned level, bool leaf) {
    if (!leaf || level == 0) return 0;
    const unsigned width = c.features.pse36 ? std::min(c.features.physical_bits, 40u) : 32;
    return low_mask(22) & ~low_mask(width - 19);
  }
  static u64 address(Entry e, unsigned level) {
    if (level == 0) return e & 0xfffff000;
    return (e & 0xffc00000) | bits(e, 20, 13) << 32;
  }
  static u64 table(Entry e) { return address(e, 0); }
};

template <class Format>
constexpr bool kFormatIsSound = Format::kLinearBits == 12 + Format::kLevels* Format::kIndexBits &&
                                (sizeof(typename Format::Entry) << Format::kIndexBits) == kPageSize;
static_assert(kFormatIsSound<FourLevel> && kFormatIsSound<Pae> && kFormatIsSound<ThirtyTwoBit>,
              "a table is one page, and the indices and the offset make up the linear address");

}  // namespace vellum::paging
