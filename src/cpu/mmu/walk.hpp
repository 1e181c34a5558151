// The page walk: what the guest's paging structures make of a linear address (SDM vol. 3A ch. 4).
//
// The walk reads guest memory as it is at that moment and caches nothing. It sets accessed and dirty bits
// with locked compare-exchanges, and only once the access is permitted; when another processor changed an
// entry in between, the walk starts over, so that a bit is never set in an entry that no longer says what was
// used (§4.8).
//
// Paging structures may stand where no memory is; they are then read and written over the bus. In ROM their
// accessed and dirty bits stay as they are.
#pragma once

#include <array>

#include "base/address.hpp"
#include "cpu/mmu/access.hpp"
#include "cpu/state.hpp"
#include "memory/address_space.hpp"

namespace vellum {

/// What of the CPU model decides which entry bits are reserved.
struct PagingFeatures {
  unsigned physical_bits = 40;  ///< MAXPHYADDR, 32 to 52
  bool pse36 = true;            ///< 4 MiB pages above 4 GiB
  bool gib_pages = true;        ///< 1 GiB pages in 4-level paging
};

enum class PagingMode : u8 { kNone, k32Bit, kPae, k4Level };

/// Which paging the control registers select (§4.1.1).
PagingMode paging_mode(const VcpuState& state);

/// What one linear page is translated to.
struct Translation {
  GuestPhys page;      ///< of the 4 KiB page that holds the address
  u8 page_shift = 12;  ///< of the page the structures map: 12, 21, 22 or 30
  bool global = false;
  u16 allow = 0;         ///< as namespace rights lays out; no writes unless the page's dirty bit is set
  bool accessed = true;  ///< every entry on the way has its accessed bit set
};

/// Translates `linear` (canonical) for one access from `context` (rights::kUser, kSupervisorSmap or
/// kSupervisor), and sets accessed and dirty bits. False: `error_code` is the page fault's (§4.7).
[[nodiscard]] bool walk(const AddressSpace& space, const VcpuState& state, const PagingFeatures& features,
                        u64 linear, Access access, unsigned context, Translation& translation,
                        u32& error_code);

/// Translates without checks of the access and without touching accessed and dirty bits. False: not mapped.
[[nodiscard]] bool walk_quietly(const AddressSpace& space, const VcpuState& state,
                                const PagingFeatures& features, u64 linear, Translation& translation);

/// PAE paging: reads the four PDPTEs that `cr3` points to, as MOV to CR0, CR3 and CR4 and task switches do
/// (§4.4.1). False: a present one has a reserved bit set; #GP(0) is due and `pdptes` is unchanged.
[[nodiscard]] bool load_pdptes(const AddressSpace& space, const PagingFeatures& features, u64 cr3,
                               std::array<u64, 4>& pdptes);

}  // namespace vellum
