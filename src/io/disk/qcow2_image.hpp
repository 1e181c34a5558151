// A qcow2 image: the tables of its header, clusters that are read from where they are, written in place if
// only this disk has them, and copied if not.
//
// Locks: a request holds its guest clusters in `clusters_`, shared to read and to write in place, alone to
// change where they are. `tables_` is held while an L2 table is made, `flushing_` by a flush; Qcow2Refcounts
// has its own. Taken in this order.
//
// What a crash leaves: every reference that is in the file counts in its refcounts, and every cluster that is
// referred to was written before. So data, new L2 tables and refcounts are written, then synced, before L2
// and L1 entries; what these no more refer to is given up after they are stable. A crash may leave clusters
// that count and are not used (leaks), never the opposite.
#pragma once

#include <set>

#include "io/disk/image.hpp"
#include "io/disk/qcow2_refcounts.hpp"

namespace vellum {

class Qcow2Image final : public Image {
 public:
  /// Reads the header and both top tables of a file that is not empty. Without its backing image yet.
  /// `writable`: it will be written to.
  static Result<std::unique_ptr<Qcow2Image>> open(std::unique_ptr<HostFile> file, bool writable);

  const Qcow2Header& header() const { return header_; }
  void set_backing(std::unique_ptr<Image> backing) { backing_ = std::move(backing); }

  std::string_view format() const override { return "qcow2"; }
  u64 size() const override { return align_up(header_.size, 512); }
  u64 cluster_size() const override { return header_.cluster_size(); }
  const HostFile& file() const override { return *file_; }
  const Image* backing() const override { return backing_.get(); }

  Task<int> read(u64 offset, std::span<const iovec> buffers) override;
  Task<int> write(u64 offset, std::span<const iovec> buffers) override;
  Task<int> discard(u64 offset, u64 length) override;
  Task<int> write_zeroes(u64 offset, u64 length, bool may_unmap) override;
  Task<int> flush() override;
  Task<int> close() override;

 private:
  /// A part of the disk that is in one place.
  struct Extent {
    u64 offset;  ///< of the disk
    u64 length;
    Qcow2Cluster where;  ///< of the first byte's cluster; `host` is that cluster's
  };

  Qcow2Image(std::unique_ptr<HostFile> file, const Qcow2Header& header, std::vector<u64> l1,
             std::vector<u64> refcounts);

  // qcow2_map.cpp
  Task<Io<TableSliceRef>> table(u64 offset, bool change);
  u64 entry_index(u64 offset) const;
  Task<int> make_table(u64 l1_index);
  Task<Io<std::vector<Extent>>> map(u64 offset, u64 length);
  Task<int> read_mapped(u64 offset, std::span<const iovec> buffers);
  Task<int> read_extent(Extent extent, std::span<const iovec> buffers);
  Task<int> read_backing(u64 offset, std::span<const iovec> buffers);
  Task<int> read_compressed(Extent extent, std::span<const iovec> buffers);
  auto lock_clusters(u64 offset, u64 length, bool exclusive) {
    return clusters_.lock(offset >> header_.cluster_bits, (offset + length - 1) >> header_.cluster_bits,
                          exclusive);
  }

  // qcow2_write.cpp
  bool in_place(const Extent& extent) const;
  Task<int> write_in_place(std::span<const Extent> extents, u64 offset, std::span<const iovec> buffers);
  Task<int> write_anywhere(u64 offset, std::span<const iovec> buffers);
  Task<int> write_new(Extent extent, std::span<const iovec> buffers);
  Task<int> write_run(Qcow2Refcounts::Run run, Extent old, u64 offset, std::span<const iovec> buffers);
  Task<int> set_entry(u64 offset, u64 entry, bool keep_old);
  Task<int> empty_cluster(u64 offset, bool discarding, bool may_unmap);
  Task<int> empty_clusters(u64 offset, u64 length, bool discarding, bool may_unmap);
  Task<int> write_zero_bytes(u64 offset, u64 length);
  Task<int> flush_if_crowded();

  // qcow2_flush.cpp
  struct L1Sector {
    u64 index;
    std::vector<u8> bytes;
  };
  struct Changes;
  void give_up(const Qcow2Cluster& cluster);
  Changes take_changes();
  void restore(const Changes& changes, bool refcounts);
  Task<int> write_changes(const Changes& changes);
  Task<int> write_tables(const Changes& changes);
  Task<int> free_clusters(std::vector<u64> clusters);

  std::unique_ptr<HostFile> file_;
  Qcow2Header header_;
  std::unique_ptr<Image> backing_;
  std::vector<u64> l1_;
  std::set<u64> dirty_l1_;  ///< sectors of 64 entries
  TableCache l2_;
  Qcow2Refcounts refcounts_;
  std::vector<u64> freed_;  ///< clusters that no table in memory refers to any more, once for each reference
  u64 flushes_begun_ = 0, flushed_ = 0;  ///< the second: the last that did well
  RangeLock clusters_, tables_, flushing_;
  struct Unpacked {
    u64 host;
    std::vector<u8> bytes;
  };
  std::list<Unpacked> unpacked_;  ///< compressed clusters, newest first; never stale, as none is ever written
};

}  // namespace vellum
