#include "boot/pvh.hpp"

#include <cstring>

#include "boot/byte_view.hpp"

namespace vellum {

Result<GuestPhys> put_pvh_start_info(Placement& placement, const std::vector<MemoryMapEntry>& map,
                                     GuestPhys command_line, GuestPhysRange initrd, GuestPhys rsdp) {
  std::vector<u8> table(map.size() * sizeof(PvhMemoryMapEntry));
  for (std::size_t i = 0; i < map.size(); ++i) {
    const PvhMemoryMapEntry entry{map[i].range.start.value, map[i].range.size, static_cast<u32>(map[i].type),
                                  0};
    std::memcpy(table.data() + i * sizeof entry, &entry, sizeof entry);
  }
  VELLUM_TRY_ASSIGN(table_at, placement.put(table, 8, "memory map"));

  PvhStartInfo info;
  info.command_line = command_line.value;
  info.rsdp = rsdp.value;
  info.memory_map = table_at.value;
  info.memory_map_entries = static_cast<u32>(map.size());
  if (initrd.size > 0) {
    const PvhModule module{initrd.start.value, initrd.size, 0, 0};
    VELLUM_TRY_ASSIGN(module_at, placement.put(bytes_of(module), 8, "module list"));
    info.module_list = module_at.value;
    info.module_count = 1;
  }
  return placement.put(bytes_of(info), 8, "start info");
}

}  // namespace vellum
