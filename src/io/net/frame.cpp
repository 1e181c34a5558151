#include "io/net/frame.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"

namespace vellum::net {

std::size_t frame_size(std::span<const iovec> pieces) {
  std::size_t size = 0;
  for (const iovec& piece : pieces) size += piece.iov_len;
  return size;
}

std::span<u8> gather(std::span<const iovec> pieces, std::span<u8> out) {
  std::size_t size = 0;
  for (const iovec& piece : pieces) {
    if (piece.iov_len == 0) continue;
    VELLUM_ASSERT(piece.iov_len <= out.size() - size, "{} + {} > {}", size, piece.iov_len, out.size());
    std::memcpy(out.data() + size, piece.iov_base, piece.iov_len);
    size += piece.iov_len;
  }
  return out.first(size);
}

std::span<u8> copy_head(std::span<const iovec> pieces, std::span<u8> out) {
  std::size_t size = 0;
  for (const iovec& piece : pieces) {
    const std::size_t here = std::min(piece.iov_len, out.size() - size);
    if (here != 0) std::memcpy(out.data() + size, piece.iov_base, here);
    size += here;
  }
  return out.first(size);
}

bool fits(const FrameOffload& offload, std::size_t size) {
  if (size < kMinFrame || size > kMaxFrame) return false;
  if (offload.gso != Gso::kNone && (!offload.needs_checksum || offload.gso_size == 0)) return false;
  if (!offload.needs_checksum) return true;
  return offload.checksum_start >= kEthernetHeader &&
         std::size_t{offload.checksum_start} + offload.checksum_offset + 2 <= size;
}

Offloads needed(const FrameOffload& offload) {
  if (!offload.needs_checksum) return Offloads::kNone;
  Offloads all = Offloads::kChecksum;
  if (offload.gso == Gso::kTcp4) all = all | Offloads::kTso4;
  if (offload.gso == Gso::kTcp6) all = all | Offloads::kTso6;
  if (offload.gso != Gso::kNone && offload.ecn) all = all | Offloads::kEcn;
  return all;
}

}  // namespace vellum::net
