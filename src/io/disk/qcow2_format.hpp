// The qcow2 format, versions 2 and 3 (QEMU's docs/interop/qcow2.txt): the header, and what an L2 entry says.
//
//   guest offset   | L1 index | L2 index | in cluster |
//   L1[L1 index] -> an L2 table, one cluster; L2[L2 index] -> a cluster
//   refcount table[cluster / per block] -> a block, one cluster of counts
//
// All numbers are big-endian. GUEST-CONTROLLED: a file may hold anything; parse_qcow2_header() bounds what it
// accepts, and table entries are judged where they are used.
#pragma once

#include <span>
#include <string>

#include "base/bits.hpp"
#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

enum class Qcow2Compression : u8 { kZlib = 0, kZstd = 1 };

struct Qcow2Header {
  // Where fields that are rewritten stand.
  static constexpr u32 kMagic = 0x5146'49fb, kExtensionBackingFormat = 0xe279'2aca, kMaxBackingName = 1023;
  static constexpr u64 kRefcountTableAt = 48, kAutoclearAt = 88;
  static constexpr u64 kIncompatibleDirty = bit(0), kIncompatibleCorrupt = bit(1),
                       kIncompatibleCompression = bit(3);

  u32 version = 3;
  u64 backing_offset = 0;
  u32 backing_length = 0;
  u32 cluster_bits = 16;
  u64 size = 0;  ///< bytes, as the file has it
  u32 crypt_method = 0;
  u32 l1_entries = 0;
  u64 l1_offset = 0;
  u64 refcount_table_offset = 0;
  u32 refcount_table_clusters = 0;
  u32 snapshots = 0;
  u64 snapshots_offset = 0;
  u64 incompatible = 0, autoclear = 0;
  u32 refcount_order = 4;
  u32 header_length = 72;
  Qcow2Compression compression = Qcow2Compression::kZlib;
  std::string backing_file;    ///< as the file has it, or empty
  std::string backing_format;  ///< "raw", "qcow2", …, or empty: not said

  u64 cluster_size() const { return bit(cluster_bits); }
  u32 l2_bits() const { return cluster_bits - 3; }
  /// log2 of how many refcounts a block has.
  u32 block_bits() const { return cluster_bits + 3 - refcount_order; }

  static constexpr u32 kMinClusterBits = 9, kMaxClusterBits = 21;
  static constexpr u64 kMaxL1Bytes = u64{32} << 20, kMaxRefcountTableBytes = u64{8} << 20;
  /// Host offsets have 56 bits; a file has 63.
  static constexpr u64 kMaxHostOffset = bit(56) - 1;
};

/// Whether a line of text can show it: no control characters.
bool valid_backing_name(std::string_view name);

/// Reads and checks the header out of the file's first bytes (up to the largest cluster, or all there is).
/// Errors name what is wrong, without the file's name. `writable`: whether what makes only writing impossible
/// is an error.
Result<Qcow2Header> parse_qcow2_header(std::span<const u8> bytes, bool writable);

/// Where a guest cluster is.
struct Qcow2Cluster {
  enum class Kind : u8 {
    kUnallocated,  ///< in the backing image, or zeroes
    kZero,         ///< zeroes; `host` is 0 or a cluster kept for it
    kNormal,       ///< at `host`
    kCompressed,   ///< `length` bytes at `host`, at any alignment
    kInvalid,      ///< no sound image says this
  };
  Kind kind = Kind::kUnallocated;
  u64 host = 0;
  u64 length = 0;
  bool copied = false;  ///< the refcount is 1: it may be written in place
};

inline constexpr u64 kQcow2Copied = bit(63), kQcow2Compressed = bit(62), kQcow2Zero = 1;
inline constexpr u64 kQcow2OffsetMask = 0x00ff'ffff'ffff'fe00;

Qcow2Cluster decode_l2_entry(const Qcow2Header& header, u64 entry);

}  // namespace vellum
