// From transmit descriptors to frames (SDM §3.3, §3.5): contexts, and the packet that is being collected.
//
// Packets are collected in memory of our own, so that what is decided by their headers stays true, and so
// that half of one can be saved. No lock: the controller's guards it, and the network is not called from
// here.
#pragma once

#include <array>
#include <utility>

#include "devices/e1000/frame_list.hpp"
#include "devices/e1000/offload.hpp"
#include "devices/e1000/registers.hpp"
#include "memory/dma_view.hpp"

namespace vellum::e1000 {

/// 16 bytes of a ring.
struct TxDescriptor {
  u64 first = 0, second = 0;

  u8 command() const { return static_cast<u8>(second >> 24); }
  u8 type() const { return static_cast<u8>(second >> 20 & 15); }  ///< extended ones'
  bool extended() const { return (command() & kExtended) != 0; }
  bool is_context() const { return extended() && type() == 0; }
  bool is_data() const { return extended() && type() == 1; }
  u8 options() const { return static_cast<u8>(second >> 40); }
  u16 special() const { return static_cast<u16>(second >> 48); }
  /// Bytes at address `first`.
  u32 length() const { return static_cast<u32>(second & (extended() ? 0xfffff : 0xffff)); }
};

/// What registers say about all packets.
struct TxSettings {
  bool vlan = false, pad = false;
  u16 ether_type = 0;  ///< of the tags
};

struct TxCounts {
  u64 malformed = 0, bad_fcs = 0;
};

class Transmitter {
 public:
  /// The largest packet that is not to be cut, as the packet buffer has it (§3.3.3), and what is collected of
  /// one to be cut before its first pieces go.
  static constexpr std::size_t kMaxPacket = 16288, kMaxCollected = net::kMaxFrame - kVlanTagSize;
  /// Pieces of one packet. Those of 64 KiB of the smallest segments that TCP sends are fewer.
  static constexpr u32 kMaxPieces = 2048;

  struct State {
    std::array<Context, 2> contexts;  ///< for packets as they are, and for those to be cut
    bool open = false;                ///< a packet has begun
    bool segmented = false;           ///< it is to be cut
    bool bad = false;                 ///< what is left of it is dropped
    u8 options = 0, command = 0;      ///< of its first descriptor
    u8 sum_start = 0, sum_at = 0;     ///< likewise, if that is a legacy one
    u16 special = 0;
    u32 pieces = 0;  ///< that have gone
    std::vector<u8> packet;
    template <class V>
    void visit(V& v) {
      v(contexts), v(open), v(segmented), v(bad), v(options), v(command), v(sum_start), v(sum_at), v(special),
          v(pieces), v(packet);
    }
  };

  /// GUEST-CONTROLLED: the descriptor and what it leads to. Frames that it completes go to `ready`.
  void take(const TxDescriptor& descriptor, const DmaView& dma, const TxSettings& settings, FrameList& ready);

  void reset();
  const State& state() const { return s_; }
  /// Untrusted.
  void restore(State state);
  /// What was dropped since the last call.
  TxCounts take_counts() { return std::exchange(counts_, {}); }

 private:
  void set_context(const TxDescriptor& descriptor);
  void begin(const TxDescriptor& descriptor);
  void append(u64 address, u32 length, const DmaView& dma, const TxSettings& settings, FrameList& ready);
  void finish_plain(const TxDescriptor& descriptor, const TxSettings& settings, FrameList& ready);
  void finish_segmented(const TxSettings& settings, FrameList& ready);
  /// Sends pieces: all of them, or those that are full and not the last.
  void cut(bool all, const TxSettings& settings, FrameList& ready);
  void drop();
  const Context& cutting() const { return s_.contexts[1]; }

  State s_;
  TxCounts counts_;
};

}  // namespace vellum::e1000
