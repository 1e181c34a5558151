// An offload as the header of virtio-net (virtio 1.2 §5.1.6.1), which tap devices and the switch's peers use,
// too. Little-endian; this host is.
#pragma once

#include "io/net/frame.hpp"

namespace vellum::net {

/// struct virtio_net_hdr, without the count of buffers. (linux/virtio_net.h is not C++: a member is `class`.)
struct VnetHeader {
  static constexpr u8 kNeedsChecksum = 1, kDataValid = 2;
  static constexpr u8 kGsoNone = 0, kGsoTcp4 = 1, kGsoTcp6 = 4, kGsoEcn = 0x80;
  u8 flags = 0;
  u8 gso_type = kGsoNone;
  u16 header_size = 0;
  u16 gso_size = 0;
  u16 checksum_start = 0;
  u16 checksum_offset = 0;
};
static_assert(sizeof(VnetHeader) == 10);

/// GUEST-CONTROLLED: `header`. What it says of a frame of `size` bytes; false if that is nonsense, or if it
/// is of a kind that is not offered (UDP fragmentation).
inline bool from_vnet_header(const VnetHeader& header, std::size_t size, FrameOffload& offload) {
  offload = {};
  offload.needs_checksum = (header.flags & VnetHeader::kNeedsChecksum) != 0;
  offload.checksum_valid = !offload.needs_checksum && (header.flags & VnetHeader::kDataValid) != 0;
  if (offload.needs_checksum) {
    offload.checksum_start = header.checksum_start;
    offload.checksum_offset = header.checksum_offset;
  }
  switch (header.gso_type & ~VnetHeader::kGsoEcn) {
    case VnetHeader::kGsoNone:
      break;
    case VnetHeader::kGsoTcp4:
      offload.gso = Gso::kTcp4;
      break;
    case VnetHeader::kGsoTcp6:
      offload.gso = Gso::kTcp6;
      break;
    default:
      return false;
  }
  if (offload.gso != Gso::kNone) {
    offload.ecn = (header.gso_type & VnetHeader::kGsoEcn) != 0;
    offload.gso_size = header.gso_size;
  }
  return fits(offload, size);
}

inline VnetHeader to_vnet_header(const FrameOffload& offload) {
  VnetHeader header;
  if (offload.needs_checksum) {
    header.flags = VnetHeader::kNeedsChecksum;
    header.checksum_start = offload.checksum_start;
    header.checksum_offset = offload.checksum_offset;
  } else if (offload.checksum_valid) {
    header.flags = VnetHeader::kDataValid;
  }
  if (offload.gso != Gso::kNone) {
    header.gso_type = offload.gso == Gso::kTcp4 ? VnetHeader::kGsoTcp4 : VnetHeader::kGsoTcp6;
    if (offload.ecn) header.gso_type |= VnetHeader::kGsoEcn;
    header.gso_size = offload.gso_size;
    // A hint for the receiver: the headers' bytes, as far as an offload tells, up to TCP's without options.
    header.header_size = static_cast<u16>(offload.checksum_start + 20);
  }
  return header;
}

}  // namespace vellum::net
