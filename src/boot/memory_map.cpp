#include "boot/memory_map.hpp"

#include <algorithm>

namespace vellum {

std::vector<MemoryMapEntry> build_memory_map(const GuestRam& ram) {
  using namespace layout;
  std::vector<MemoryMapEntry> map;
  const auto add = [&](GuestPhys start, GuestPhys end, MemoryType type) {
    if (start < end) map.push_back({{start, end - start}, type});
  };
  const GuestPhys low_end(ram.low_size());
  add(GuestPhys(0), std::min(low_end, kEbda), MemoryType::kUsable);
  add(kEbda, kLowMemoryEnd, MemoryType::kReserved);
  add(kAcpiTables, kHighMemory, MemoryType::kReserved);
  add(kHighMemory, low_end, MemoryType::kUsable);
  add(kIoApic, kIoApic + kPageSize, MemoryType::kReserved);
  add(kLocalApic, kLocalApic + kPageSize, MemoryType::kReserved);
  const GuestPhys high_start(GuestRam::kHighRamStart);
  add(high_start, high_start + ram.high_size(), MemoryType::kUsable);
  return map;
}

}  // namespace vellum
