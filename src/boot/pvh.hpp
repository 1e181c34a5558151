// The PVH direct boot protocol: what a kernel that has a PHYS32_ENTRY note is handed (Xen,
// docs/misc/pvh.pandoc and public/arch-x86/hvm/start_info.h).
#pragma once

#include <string>
#include <vector>

#include "boot/memory_map.hpp"
#include "boot/placement.hpp"

namespace vellum {

/// struct hvm_start_info, version 1.
struct PvhStartInfo {
  static constexpr u32 kMagic = 0x336ec578;  // "xEn3" with its top bit set
  u32 magic = kMagic;
  u32 version = 1;
  u32 flags = 0;
  u32 module_count = 0;
  u64 module_list = 0;
  u64 command_line = 0;
  u64 rsdp = 0;
  u64 memory_map = 0;
  u32 memory_map_entries = 0;
  u32 reserved = 0;
};
static_assert(sizeof(PvhStartInfo) == 56);

/// struct hvm_modlist_entry.
struct PvhModule {
  u64 address = 0, size = 0, command_line = 0, reserved = 0;
};

/// struct hvm_memmap_table_entry.
struct PvhMemoryMapEntry {
  u64 address = 0, size = 0;
  u32 type = 0, reserved = 0;
};

/// Places the start info and what it points to; the result is EBX's value. `initrd`: the one module, size 0
/// for none.
Result<GuestPhys> put_pvh_start_info(Placement& placement, const std::vector<MemoryMapEntry>& map,
                                     GuestPhys command_line, GuestPhysRange initrd, GuestPhys rsdp);

}  // namespace vellum
