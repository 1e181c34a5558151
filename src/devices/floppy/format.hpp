// The formats of disks that there are, by the size of their images, and the drives for them.
#pragma once

#include "devices/floppy/registers.hpp"

namespace vellum::floppy {

struct Format {
  u64 size;  ///< bytes
  u8 tracks, sectors;
  Rate rate;      ///< that the controller must be set to, in the drive below
  u8 drive_type;  ///< in CMOS RAM: 1 to 5 for drives of 360K, 1.2M, 720K, 1.44M, 2.88M

  u64 track_bytes() const { return sectors * kSector; }
};

inline constexpr unsigned kHeads = 2;
inline constexpr u8 kLastCylinder = 83;  ///< where a drive's arm ends
inline constexpr u8 kMaxSectors = 36;

/// nullptr: no disk has that size.
const Format* format_of(u64 size);

}  // namespace vellum::floppy
