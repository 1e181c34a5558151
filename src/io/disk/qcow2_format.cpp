#include "io/disk/qcow2_format.hpp"

#include <algorithm>
#include <array>

#include "base/byte_order.hpp"

namespace vellum {
namespace {

constexpr u32 kExtensionFeatureNames = 0x6803'f857;
constexpr u32 kMaxSnapshots = 65536;

// Text out of a file, fit for a terminal.
std::string printable(std::span<const u8> bytes) {
  std::string text;
  for (const u8 byte : bytes) {
    if (byte == 0) break;
    text += byte >= 0x20 && byte < 0x7f ? static_cast<char>(byte) : '?';
  }
  return text;
}

struct FeatureName {
  u8 bit;
  std::string name;
};

std::string feature_name(unsigned number, const std::vector<FeatureName>& names) {
  constexpr std::array kKnown = {"dirty", "corrupt", "external data file", "compression type",
                                 "extended L2 entries"};
  if (number < kKnown.size()) return kKnown[number];
  for (const FeatureName& one : names)
    if (one.bit == number && !one.name.empty()) return one.name;
  return fmt::format("bit {}", number);
}

Result<> check_incompatible(const Qcow2Header& header, const std::vector<FeatureName>& names, bool writable) {
  constexpr u64 kKnown = Qcow2Header::kIncompatibleDirty | Qcow2Header::kIncompatibleCorrupt |
                         Qcow2Header::kIncompatibleCompression;
  if (const u64 unknown = header.incompatible & ~kKnown; unknown != 0) {
    std::string list;
    for (unsigned number = 0; number < 64; ++number)
      if ((unknown & bit(number)) != 0)
        list += (list.empty() ? "'" : ", '") + feature_name(number, names) + "'";
    return fail(ErrorCode::kUnsupported,
                "the qcow2 image needs features that Vellum does not have: {}; 'qemu-img convert -O qcow2' "
                "makes an image "
                "without them",
                list);
  }
  if (!writable) return {};
  if ((header.incompatible & Qcow2Header::kIncompatibleCorrupt) != 0)
    return fail(ErrorCode::kBadInput,
                "the qcow2 image is marked as corrupt; 'qemu-img check -r all' repairs it, readonly=on reads "
                "what is left");
  if ((header.incompatible & Qcow2Header::kIncompatibleDirty) != 0)
    return fail(ErrorCode::kBadInput,
                "the qcow2 image was not closed properly and its refcounts are stale; 'qemu-img check -r "
                "all' repairs it, readonly=on reads it as it is");
  return {};
}

// Extensions lie between header and backing file's name; each is a type, a length and padding to 8 bytes.
Result<> parse_extensions(std::span<const u8> cluster, Qcow2Header& header, std::vector<FeatureName>& names) {
  u64 at = header.header_length;
  const u64 end = header.backing_offset != 0 ? header.backing_offset : cluster.size();
  while (at + 8 <= end) {
    const u32 type = load_be32(&cluster[at]);
    const u64 length = load_be32(&cluster[at + 4]);
    at += 8;
    if (type == 0) return {};
    if (length > end - at)
      return fail(ErrorCode::kBadInput, "a qcow2 header extension is longer than the header has room for");
    const auto data = cluster.subspan(at, length);
    if (type == Qcow2Header::kExtensionBackingFormat)
      header.backing_format = printable(data.first(std::min<u64>(length, 64)));
    if (type == kExtensionFeatureNames)
      for (u64 entry = 0; entry + 48 <= length; entry += 48)
        if (data[entry] == 0) names.push_back({data[entry + 1], printable(data.subspan(entry + 2, 46))});
    at += align_up(length, 8);
  }
  return {};
}

bool table_fits(u64 offset, u64 bytes, u64 cluster_size) {
  return offset % cluster_size == 0 && offset <= Qcow2Header::kMaxHostOffset &&
         bytes <= Qcow2Header::kMaxHostOffset - offset;
}

Result<> check_tables(const Qcow2Header& h) {
  const u64 cluster = h.cluster_size();
  if (h.size > (u64{1} << 62))
    return fail(ErrorCode::kBadInput, "the qcow2 image's disk of {} bytes is too large", h.size);
  const u64 l1_bytes = u64{h.l1_entries} * 8;
  if (l1_bytes > Qcow2Header::kMaxL1Bytes)
    return fail(ErrorCode::kBadInput, "the qcow2 image's L1 table of {} entries is too large", h.l1_entries);
  const u32 shift = h.cluster_bits + h.l2_bits();
  if ((h.size >> shift) + ((h.size & low_mask(shift)) != 0 ? 1 : 0) > h.l1_entries)
    return fail(ErrorCode::kBadInput,
                "the qcow2 image's L1 table of {} entries is too small for its disk of {} bytes",
                h.l1_entries, h.size);
  if (!table_fits(h.l1_offset, l1_bytes, cluster) || (h.l1_offset == 0 && h.l1_entries != 0))
    return fail(ErrorCode::kBadInput, "the qcow2 image's L1 table cannot be at offset {}", h.l1_offset);
  const u64 refcount_bytes = u64{h.refcount_table_clusters} << h.cluster_bits;
  if (refcount_bytes == 0 || refcount_bytes > Qcow2Header::kMaxRefcountTableBytes)
    return fail(ErrorCode::kBadInput, "the qcow2 image's refcount table of {} clusters is {}",
                h.refcount_table_clusters, refcount_bytes == 0 ? "missing" : "too large");
  if (!table_fits(h.refcount_table_offset, refcount_bytes, cluster) || h.refcount_table_offset == 0)
    return fail(ErrorCode::kBadInput, "the qcow2 image's refcount table cannot be at offset {}",
                h.refcount_table_offset);
  if (h.snapshots > kMaxSnapshots || !table_fits(h.snapshots_offset, 0, cluster))
    return fail(ErrorCode::kBadInput, "the qcow2 image's table of {} snapshots cannot be at offset {}",
                h.snapshots, h.snapshots_offset);
  return {};
}

}  // namespace

bool valid_backing_name(std::string_view name) {
  return std::ranges::none_of(name, [](char c) { return static_cast<u8>(c) < 0x20 || c == 0x7f; });
}

Result<Qcow2Header> parse_qcow2_header(std::span<const u8> bytes, bool writable) {
  if (bytes.size() < 72 || load_be32(bytes.data()) != Qcow2Header::kMagic)
    return fail(ErrorCode::kBadInput,
                "this is no qcow2 image: it does not begin with a header of that format");
  const u8* at = bytes.data();
  Qcow2Header h;
  h.version = load_be32(at + 4);
  if (h.version != 2 && h.version != 3)
    return fail(ErrorCode::kUnsupported, "the qcow2 image is of version {}; Vellum knows 2 and 3", h.version);
  h.backing_offset = load_be64(at + 8);
  h.backing_length = load_be32(at + 16);
  h.cluster_bits = load_be32(at + 20);
  h.size = load_be64(at + 24);
  h.crypt_method = load_be32(at + 32);
  h.l1_entries = load_be32(at + 36);
  h.l1_offset = load_be64(at + 40);
  h.refcount_table_offset = load_be64(at + 48);
  h.refcount_table_clusters = load_be32(at + 56);
  h.snapshots = load_be32(at + 60);
  h.snapshots_offset = load_be64(at + 64);
  if (h.cluster_bits < Qcow2Header::kMinClusterBits || h.cluster_bits > Qcow2Header::kMaxClusterBits)
    return fail(ErrorCode::kBadInput, "the qcow2 image has clusters of 2^{} bytes; they are 2^9 to 2^21",
                h.cluster_bits);
  const auto cluster = bytes.first(std::min<u64>(bytes.size(), h.cluster_size()));
  if (h.version == 3) {
    if (cluster.size() < 104) return fail(ErrorCode::kBadInput, "the qcow2 image ends within its header");
    h.incompatible = load_be64(at + 72);
    h.autoclear = load_be64(at + 88);
    h.refcount_order = load_be32(at + 96);
    h.header_length = load_be32(at + 100);
    if (h.header_length < 104 || h.header_length > cluster.size())
      return fail(ErrorCode::kBadInput, "the qcow2 image's header cannot have {} bytes", h.header_length);
    if (h.refcount_order > 6)
      return fail(ErrorCode::kBadInput, "the qcow2 image has refcounts of 2^{} bits; they have at most 64",
                  h.refcount_order);
  }
  if (h.backing_offset != 0) {
    if (h.backing_length > Qcow2Header::kMaxBackingName || h.backing_offset < h.header_length ||
        h.backing_offset > cluster.size() || h.backing_length > cluster.size() - h.backing_offset)
      return fail(ErrorCode::kBadInput,
                  "the name of the qcow2 image's backing file is not within its header");
    const auto name = cluster.subspan(h.backing_offset, h.backing_length);
    h.backing_file.assign(name.begin(), name.end());
    if (!valid_backing_name(h.backing_file))  // GUEST-CONTROLLED: errors and logs show it
      return fail(ErrorCode::kBadInput,
                  "the name of the qcow2 image's backing file has control characters in it");
  }
  std::vector<FeatureName> names;
  VELLUM_TRY(parse_extensions(cluster, h, names));
  VELLUM_TRY(check_incompatible(h, names, writable));
  if (h.crypt_method != 0)
    return fail(
        ErrorCode::kUnsupported,
        "the qcow2 image is encrypted; 'qemu-img convert -O qcow2', given its key, makes one that is not");
  if ((h.incompatible & Qcow2Header::kIncompatibleCompression) != 0) {
    const u8 type = h.header_length > 104 ? bytes[104] : 0;
    if (type > 1)
      return fail(ErrorCode::kUnsupported, "the qcow2 image's compression type {} is unknown", type);
    h.compression = static_cast<Qcow2Compression>(type);
  }
  VELLUM_TRY(check_tables(h));
  return h;
}

Qcow2Cluster decode_l2_entry(const Qcow2Header& header, u64 entry) {
  using Kind = Qcow2Cluster::Kind;
  Qcow2Cluster cluster;
  if ((entry & kQcow2Compressed) != 0) {
    const u32 offset_bits = 62 - (header.cluster_bits - 8);
    const u64 sectors = bits(entry, 61, offset_bits) + 1;
    cluster.kind = Kind::kCompressed;
    cluster.host = entry & low_mask(offset_bits);
    cluster.length = sectors * 512 - cluster.host % 512;
    if (cluster.host > Qcow2Header::kMaxHostOffset - cluster.length) cluster.kind = Kind::kInvalid;
    return cluster;
  }
  cluster.copied = (entry & kQcow2Copied) != 0;
  cluster.host = entry & kQcow2OffsetMask;
  const bool zero = (entry & kQcow2Zero) != 0;
  if (cluster.host % header.cluster_size() != 0 || (zero && header.version < 3))
    cluster.kind = Kind::kInvalid;
  else if (zero)
    cluster.kind = Kind::kZero;
  else
    cluster.kind = cluster.host != 0 ? Kind::kNormal : Kind::kUnallocated;
  return cluster;
}

}  // namespace vellum
