#include "io/disk/qcow2_create.hpp"

#include <algorithm>

#include "base/byte_order.hpp"
#include "io/disk/qcow2_format.hpp"

namespace vellum {
namespace {

constexpr u32 kHeaderLength = 104;

}  // namespace

Result<std::vector<u8>> empty_qcow2(const Qcow2Creation& what) {
  const Qcow2Header layout;  // of the default sizes
  const u64 cluster = layout.cluster_size();
  const u64 l1_entries = (what.size + (u64{1} << (layout.cluster_bits + layout.l2_bits())) - 1) >>
                         (layout.cluster_bits + layout.l2_bits());
  if (l1_entries * 8 > Qcow2Header::kMaxL1Bytes)
    return fail(ErrorCode::kUnsupported, "a disk of {} bytes is too large for a qcow2 image", what.size);
  if (what.backing_file.size() > Qcow2Header::kMaxBackingName)
    return fail(ErrorCode::kUnsupported, "'{}': a backing file's name has at most {} bytes",
                what.backing_file, Qcow2Header::kMaxBackingName);
  if (!valid_backing_name(what.backing_file))
    return fail(ErrorCode::kUnsupported,
                "a backing file's name with control characters cannot stand in a qcow2 image");
  // Clusters: the header, the refcount table, its first block, the L1 table.
  const u64 l1_clusters = align_up(l1_entries * 8, cluster) / cluster;
  const u64 clusters = 3 + l1_clusters;
  std::vector<u8> bytes(clusters * cluster);
  u8* const header = bytes.data();
  store_be32(header, Qcow2Header::kMagic);
  store_be32(header + 4, 3);
  store_be32(header + 20, layout.cluster_bits);
  store_be64(header + 24, what.size);
  store_be32(header + 36, static_cast<u32>(l1_entries));
  store_be64(header + 40, 3 * cluster);
  store_be64(header + Qcow2Header::kRefcountTableAt, cluster);
  store_be32(header + Qcow2Header::kRefcountTableAt + 8, 1);
  store_be32(header + 96, layout.refcount_order);
  store_be32(header + 100, kHeaderLength);
  u64 at = kHeaderLength;
  store_be32(header + at, Qcow2Header::kExtensionBackingFormat);
  store_be32(header + at + 4, static_cast<u32>(what.backing_format.size()));
  std::ranges::copy(what.backing_format, header + at + 8);
  at += 8 + align_up(what.backing_format.size(), 8) + 8;  // and the end of the extensions, zeroes
  store_be64(header + 8, at);
  store_be32(header + 16, static_cast<u32>(what.backing_file.size()));
  std::ranges::copy(what.backing_file, header + at);
  store_be64(&bytes[cluster], 2 * cluster);
  for (u64 i = 0; i < clusters; ++i) store_be16(&bytes[2 * cluster + i * 2], 1);
  return bytes;
}

}  // namespace vellum
