// One channel's half of the PIIX3's bus master (82371SB §2.7; "Programming Interface for Bus Master IDE
// Controller" 1.0): a table of regions of guest memory that a transfer fills or takes from, in order.
//
//   0  command: bit 0 start, bit 3 to memory    2  status: bit 0 active, 1 error, 2 interrupt, 5 and 6 stored
//   4  address of the table: entries of 8 bytes: address, size (0: 64 KiB), bit 31 of the last word: the last
//   one
#pragma once

#include <span>

#include "devices/ide/registers.hpp"
#include "memory/dma_view.hpp"

namespace vellum::ide {

struct BusMaster {
  u8 command = 0, status = 0;
  u32 table = 0;
  // Where the transfer that runs stands.
  u32 entry = 0;        ///< address of the next entry
  u32 region = 0;       ///< guest-physical
  u32 region_left = 0;  ///< bytes
  bool last = false;    ///< the region is the last one
  template <class V>
  void visit(V& v) {
    v(command), v(status), v(table), v(entry), v(region), v(region_left), v(last);
  }

  u8 read(u64 offset) const;
  /// GUEST-CONTROLLED: `value`. Returns whether a transfer was started (1), stopped (-1), or neither.
  int write(u64 offset, u8 value);
  bool active() const { return (status & kActive) != 0; }
  bool to_memory() const { return (command & kToMemory) != 0; }

  /// Moves `bytes` to guest memory, or fills them from there; false: the regions do not reach so far, or are
  /// no memory.
  bool to_guest(const DmaView& dma, std::span<const u8> bytes);
  bool from_guest(const DmaView& dma, std::span<u8> bytes);
  /// The transfer has ended: active only if its regions are not used up.
  void finish(bool well);

 private:
  bool next_region(const DmaView& dma);
};

}  // namespace vellum::ide
