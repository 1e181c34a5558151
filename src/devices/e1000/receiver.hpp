// From a frame to receive descriptors (SDM §3.2): what is stored, how it is described, and the counters.
//
// No lock: the controller's guards it.
#pragma once

#include "devices/e1000/ring.hpp"
#include "memory/dma_view.hpp"

namespace vellum::e1000 {

/// Bytes of each buffer, by RCTL.
u32 rx_buffer_size(u32 rctl);

/// Whether the ring has room for the largest frame that the card takes.
bool rx_has_room(const RegisterFile& registers);

struct Reception {
  enum class Fate : u8 { kStored, kFiltered, kTooLong, kNoDescriptors };
  Fate fate = Fate::kStored;
  u32 causes = 0;  ///< of interrupts
};

/// The frame as it is on the wire but for its check sequence: padded, not guest memory. `sums_right`: TCP's
/// or UDP's is known to be right.
Reception receive(RegisterFile& registers, const DmaView& dma, std::span<const u8> frame, bool sums_right);

/// Counts a frame of `size` bytes, with its check sequence, by its size: `first` is kPrc64 or kPtc64.
void count_size(RegisterFile& registers, u32 first, u64 size, u32 times = 1);

}  // namespace vellum::e1000
