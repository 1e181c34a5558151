// An Ethernet frame on its way between a front end (a guest's network card) and a network, and the work that
// its sender left undone for whoever can do it more cheaply.
//
// The two kinds of such work are those of virtio-net's header (virtio 1.2 §5.1.6) and of Linux's tap devices:
//   checksum      the sum over [checksum_start, end) belongs at checksum_start + checksum_offset, where the
//                 sum of the pseudo header stands already
//   segmentation  one frame of up to 64 KiB stands for many: TCP's payload, cut into gso_size bytes each;
//                 implies the checksum
// A sink says which of it it understands; see FrameSink::put() in network.hpp.
#pragma once

#include <sys/uio.h>

#include <span>

#include "base/bits.hpp"
#include "base/int.hpp"

namespace vellum::net {

enum class Offloads : u8 {
  kNone = 0,
  kChecksum = 1,  ///< frames whose checksum is not complete
  kTso4 = 2,      ///< frames to be cut, TCP over IPv4
  kTso6 = 4,      ///< the same over IPv6
  kEcn = 8,       ///< such frames with TCP's CWR flag, which belongs into the first piece only
};

enum class Gso : u8 { kNone, kTcp4, kTcp6 };

struct FrameOffload {
  bool needs_checksum = false;
  bool checksum_valid = false;  ///< the checksum of TCP or UDP is known to be right (only if !needs_checksum)
  bool ecn = false;             ///< with gso: TCP's CWR flag is set
  Gso gso = Gso::kNone;
  u16 checksum_start = 0;   ///< bytes from the frame's start
  u16 checksum_offset = 0;  ///< bytes from checksum_start
  u16 gso_size = 0;         ///< TCP payload of each piece
};

inline constexpr std::size_t kEthernetHeader = 14;
inline constexpr std::size_t kMinFrame = kEthernetHeader;
/// An IP packet of 65535 bytes behind an Ethernet header with two VLAN tags.
inline constexpr std::size_t kMaxFrame = 65535 + kEthernetHeader + 8;

/// A frame as pieces of memory, in order. They may be guest RAM and change while they are read: whoever
/// decides by what they hold reads a copy.
struct Frame {
  FrameOffload offload;
  std::span<const iovec> pieces;
};

std::size_t frame_size(std::span<const iovec> pieces);
/// Copies the pieces into `out`, which they must fit; returns the used part of it.
std::span<u8> gather(std::span<const iovec> pieces, std::span<u8> out);
/// Copies as many of the first bytes as there are and `out` has room for; returns the used part of it.
std::span<u8> copy_head(std::span<const iovec> pieces, std::span<u8> out);

/// Whether the offload's fields fit a frame of `size` bytes. Senders that do not build them themselves (a
/// guest's header, a peer's message) check this once; nobody may pass on a frame that fails it.
bool fits(const FrameOffload& offload, std::size_t size);

/// What a sink must understand to take this frame as it is.
Offloads needed(const FrameOffload& offload);

}  // namespace vellum::net

template <>
inline constexpr bool vellum::kIsFlagSet<vellum::net::Offloads> = true;

namespace vellum::net {
inline constexpr Offloads kAllOffloads =
    Offloads::kChecksum | Offloads::kTso4 | Offloads::kTso6 | Offloads::kEcn;
}  // namespace vellum::net
