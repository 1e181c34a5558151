// How often each cluster of a qcow2 image's file is used, and which is free.
//
//   table[cluster >> block_bits] -> a block, one cluster of counts; counts of 2^order bits, big-endian, 1-bit
//   to 4-bit ones from the lowest bit up
//
// What allocate() and release() change stays in memory until the image's flush writes it (Qcow2Image says in
// which order). New blocks and a new table are written at once, each so that the file is sound at every
// moment:
// - a block lies in the first cluster of the range that it counts, and so counts itself; it is stable before
// its table entry is;
// - a table lies, with the blocks that count it, at the start of the first range that the old one does not
// reach; it is stable
//   before the header names it.
#pragma once

#include <unordered_set>

#include "io/disk/qcow2_format.hpp"
#include "io/disk/range_lock.hpp"
#include "io/disk/table_cache.hpp"

namespace vellum {

class Qcow2Refcounts {
 public:
  /// `file` and `header`, whose place of the table it keeps up to date, outlive it.
  Qcow2Refcounts(HostFile& file, Qcow2Header& header, std::vector<u64> table);

  struct Run {
    u64 host = 0;  ///< offset of the first
    u64 clusters = 0;
    bool fresh = false;  ///< nothing was written there yet: it reads as zeroes
  };
  /// 1 to `wanted` free clusters side by side; they count 1 now.
  Task<Io<Run>> allocate(u64 wanted);
  /// How often the cluster at `host` is used.
  Task<Io<u64>> count(u64 host);
  /// Once less. What nobody uses is free at once.
  Task<int> release(u64 host);
  /// Whether the range touches the header, the L1 table or the refcounts.
  bool touches_metadata(u64 host, u64 length) const;

  TableCache& cache() { return cache_; }

 private:
  struct Place {
    TableSliceRef slice;
    u64 index;  ///< of the count within it
  };
  /// The highest whose offset can be said.
  u64 last_cluster() const { return (Qcow2Header::kMaxHostOffset >> header_.cluster_bits) - 1; }
  u64 get(const Place& place) const;
  void set(const Place& place, u64 value);
  u64 counts_per_slice() const { return cache_.slice_size() * 8 >> header_.refcount_order; }
  Task<Io<Place>> find(u64 cluster);
  Task<Io<Run>> search(u64 wanted);
  Task<int> make_block(u64 index);
  Task<int> grow_table();
  Task<int> release_locked(u64 host);
  std::vector<u8> counts_of_one(u64 counts) const;

  HostFile& file_;
  Qcow2Header& header_;
  std::vector<u64> table_;
  std::unordered_set<u64> blocks_;
  TableCache cache_;
  RangeLock lock_;
  u64 next_ = 0;    ///< no cluster before it is free
  u64 fresh_from_;  ///< in the file nothing was ever written from here on
};

}  // namespace vellum
