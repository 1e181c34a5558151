// Firmware in ROM: the image ends at 4 GiB, where processors begin, and its last 128 KiB also at 1 MiB, as
// far as the host bridge's attribute map leaves that to ROM (82441FX data sheet, PAM registers).
//
//   0x000a_0000 … 0x000b_ffff  the display's window: the bus
//   0x000c_0000 … 0x000f_ffff  13 segments, each for reads and for writes: RAM, or what is behind it: the
//                              image's end from 0x000e_0000 on, which cannot be written, else the bus
//   … 0xffff_ffff              the image, which cannot be written
//
// It has no state: the attribute map is the host bridge's.
#pragma once

#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "devices/pci/i440fx.hpp"
#include "machine/config.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {

class BiosRom {
 public:
  static constexpr u64 kUnit = kPageSize;         ///< an image is a multiple of this
  static constexpr u64 kMaxSize = u64{16} << 20;  ///< and has this much at most, variables included

  /// `image`: as read_bios() checks it; `ram` has that much room for blocks. Both outlive this. Follows the
  /// attribute map from now on.
  BiosRom(GuestRam& ram, pci::I440Fx& host, std::span<const u8> image);

 private:
  static constexpr u64 kLowStart = 0xe0000, kLowEnd = 0x100000;
  void apply();

  GuestRam& ram_;
  pci::I440Fx& host_;
  const u64 size_;
  const unsigned block_;
  std::mutex mutex_;  // of apply()
};

/// A firmware image, or an error that names the file. `path`: MachineConfig::bios.
Result<std::vector<u8>> read_bios(FirmwareKind kind, const std::string& path);
/// The display adapter's.
Result<std::vector<u8>> read_vga_bios();

}  // namespace vellum
