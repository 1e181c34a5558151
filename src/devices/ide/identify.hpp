// What drives say of themselves (ATA/ATAPI-6 §8.15, §8.16).
#pragma once

#include <string>
#include <vector>

#include "devices/ide/registers.hpp"

namespace vellum::ide {

/// A disk's shape for those who count cylinders. At most 16383 × 16 × 63.
struct Geometry {
  u32 cylinders, heads, sectors;
  static Geometry of(u64 disk_sectors);
};

/// 512 bytes. `sectors`: of 512 bytes. `multiple`: as set by SET MULTIPLE, or 0.
std::vector<u8> identify_disk(u64 sectors, const std::string& serial, unsigned multiple);
std::vector<u8> identify_cdrom();

}  // namespace vellum::ide
