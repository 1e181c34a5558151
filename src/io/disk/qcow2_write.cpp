// Qcow2Image: writing, discarding, writing zeroes.
#include <algorithm>
#include <cerrno>

#include "base/log.hpp"
#include "io/disk/qcow2_image.hpp"

namespace vellum {

using Kind = Qcow2Cluster::Kind;

bool Qcow2Image::in_place(const Extent& extent) const {
  return extent.where.kind == Kind::kNormal && extent.where.copied;
}

Task<int> Qcow2Image::write(u64 offset, std::span<const iovec> buffers) {
  const u64 length = total_length(buffers);
  bool done = false;
  int error = 0;
  {
    auto locking = lock_clusters(offset, length, false);
    const RangeLock::Guard guard = co_await locking;
    Task<Io<std::vector<Extent>>> mapping = map(offset, length);
    const Io<std::vector<Extent>> extents = co_await mapping;
    if (!extents) co_return extents.error();
    done = std::ranges::all_of(*extents, [this](const Extent& extent) { return in_place(extent); });
    if (done) {
      Task<int> writing = write_in_place(*extents, offset, buffers);
      error = co_await writing;
    }
  }
  if (!done) {
    auto locking = lock_clusters(offset, length, true);
    const RangeLock::Guard guard = co_await locking;
    Task<int> writing = write_anywhere(offset, buffers);
    error = co_await writing;
  }
  Task<int> flushing = flush_if_crowded();
  const int later = co_await flushing;
  co_return error != 0 ? error : later;
}

Task<int> Qcow2Image::write_in_place(std::span<const Extent> extents, u64 offset,
                                     std::span<const iovec> buffers) {
  TaskGroup group;
  std::list<Buffers> parts;
  bool sound = true;
  for (const Extent& extent : extents) {
    const u64 host = extent.where.host + extent.offset % header_.cluster_size();
    // GUEST-CONTROLLED: an L2 entry may name the file's own tables.
    sound = !refcounts_.touches_metadata(host, extent.length);
    if (!sound) break;
    group.add(file_->write(
        host, parts.emplace_back(slice_buffers(buffers, extent.offset - offset, extent.length))));
  }
  auto all = group.wait();
  const int error = co_await all;
  if (!sound) VELLUM_WARN_GUEST("'{}' is corrupt: an L2 entry names metadata", file_->path());
  co_return sound ? error : EIO;
}

// With the clusters to ourselves.
Task<int> Qcow2Image::write_anywhere(u64 offset, std::span<const iovec> buffers) {
  Task<Io<std::vector<Extent>>> mapping = map(offset, total_length(buffers));
  const Io<std::vector<Extent>> extents = co_await mapping;
  if (!extents) co_return extents.error();
  for (const Extent& extent : *extents) {
    const Buffers part = slice_buffers(buffers, extent.offset - offset, extent.length);
    Task<int> writing = in_place(extent) ? write_in_place(std::span(&extent, 1), extent.offset, part)
                                         : write_new(extent, part);
    if (const int error = co_await writing; error != 0) co_return error;
  }
  co_return 0;
}

// Into clusters that the extent did not have.
Task<int> Qcow2Image::write_new(Extent extent, std::span<const iovec> buffers) {
  const u64 cluster = header_.cluster_size();
  const u64 begin = extent.offset, end = extent.offset + extent.length;
  for (u64 at = begin; at < end;) {
    const u64 first = align_down(at, cluster);
    Qcow2Refcounts::Run run;
    // A zero cluster that kept its place gets it back.
    const bool kept = extent.where.kind == Kind::kZero && extent.where.host != 0 && extent.where.copied &&
                      !refcounts_.touches_metadata(extent.where.host, cluster);
    if (kept) {
      run = {extent.where.host, 1, false};
    } else {
      Task<Io<Qcow2Refcounts::Run>> allocating =
          refcounts_.allocate((align_up(end, cluster) - first) >> header_.cluster_bits);
      const Io<Qcow2Refcounts::Run> allocated = co_await allocating;
      if (!allocated) co_return allocated.error();
      run = *allocated;
    }
    const u64 part = std::min(end, first + run.clusters * cluster) - at;
    const Buffers bytes = slice_buffers(buffers, at - begin, part);
    Task<int> writing = write_run(run, extent, at, bytes);
    if (const int error = co_await writing; error != 0) {
      if (!kept)
        for (u64 i = 0; i < run.clusters; ++i) freed_.push_back(run.host + i * cluster);
      co_return error;
    }
    for (u64 i = 0; i < run.clusters; ++i) {
      Task<int> setting = set_entry(first + i * cluster, (run.host + i * cluster) | kQcow2Copied, kept);
      if (const int error = co_await setting; error != 0) {
        if (!kept)
          for (; i < run.clusters; ++i) freed_.push_back(run.host + i * cluster);
        co_return error;
      }
    }
    at += part;
  }
  co_return 0;
}

// The bytes, and what stands before and behind them in their clusters.
Task<int> Qcow2Image::write_run(Qcow2Refcounts::Run run, Extent old, u64 offset,
                                std::span<const iovec> buffers) {
  const u64 cluster = header_.cluster_size();
  const u64 end = offset + total_length(buffers);
  const u64 head = offset % cluster, tail = align_up(end, cluster) - end;
  const bool zeroes =
      old.where.kind == Kind::kZero || (old.where.kind == Kind::kUnallocated &&
                                        (!backing_ || align_down(offset, cluster) >= backing_->size()));
  Buffers all;
  u64 host = run.host;
  std::vector<u8> before, behind;
  if (zeroes && run.fresh) {
    host += head;
    all.assign(buffers.begin(), buffers.end());
  } else if (zeroes) {
    append_zeroes(all, head);
    all.insert(all.end(), buffers.begin(), buffers.end());
    append_zeroes(all, tail);
  } else {
    before.resize(head), behind.resize(tail);
    const iovec first = buffer_of(std::span<u8>(before)), last = buffer_of(std::span<u8>(behind));
    if (head != 0) {
      Task<int> reading = read_mapped(offset - head, std::span<const iovec>(&first, 1));
      if (const int error = co_await reading; error != 0) co_return error;
      all.push_back(first);
    }
    if (tail != 0) {
      Task<int> reading = read_mapped(end, std::span<const iovec>(&last, 1));
      if (const int error = co_await reading; error != 0) co_return error;
    }
    all.insert(all.end(), buffers.begin(), buffers.end());
    if (tail != 0) all.push_back(last);
  }
  Task<int> writing = file_->write(host, all);
  const int error = co_await writing;
  co_return error;
}

// Says where the cluster of `offset` is from now on; where it was is given up, unless `keep_old`.
Task<int> Qcow2Image::set_entry(u64 offset, u64 entry, bool keep_old) {
  Task<Io<TableSliceRef>> getting = table(offset, true);
  const Io<TableSliceRef> slice = co_await getting;
  if (!slice) co_return slice.error();
  const u64 index = entry_index(offset);
  if (!keep_old) give_up(decode_l2_entry(header_, (*slice)->be64(index)));
  (*slice)->set_be64(index, entry);
  l2_.set_dirty(*slice);
  co_return 0;
}

Task<int> Qcow2Image::discard(u64 offset, u64 length) {
  const u64 cluster = header_.cluster_size();
  const u64 first = align_up(offset, cluster);
  // The disk's last cluster may be a part of one.
  const u64 end =
      offset + length == size() ? align_up(offset + length, cluster) : align_down(offset + length, cluster);
  if (first >= end) co_return 0;
  Task<int> emptying = empty_clusters(first, end - first, true, true);
  const int error = co_await emptying;
  co_return error;
}

Task<int> Qcow2Image::write_zeroes(u64 offset, u64 length, bool may_unmap) {
  const u64 cluster = header_.cluster_size();
  const u64 end = offset + length;
  const u64 first = align_up(offset, cluster);
  const u64 last = end == size() ? align_up(end, cluster) : align_down(end, cluster);
  if (first >= last) {
    Task<int> writing = write_zero_bytes(offset, length);
    const int error = co_await writing;
    co_return error;
  }
  Task<int> heading = write_zero_bytes(offset, first - offset);
  if (const int error = co_await heading; error != 0) co_return error;
  Task<int> emptying = empty_clusters(first, last - first, false, may_unmap);
  if (const int error = co_await emptying; error != 0) co_return error;
  Task<int> tailing = write_zero_bytes(last, end > last ? end - last : 0);
  const int error = co_await tailing;
  co_return error;
}

Task<int> Qcow2Image::write_zero_bytes(u64 offset, u64 length) {
  while (length > 0) {
    const u64 part = std::min<u64>(length, u64{4} << 20);
    Buffers zeroes;
    append_zeroes(zeroes, part);
    Task<int> writing = write(offset, zeroes);
    if (const int error = co_await writing; error != 0) co_return error;
    offset += part, length -= part;
  }
  co_return 0;
}

Task<int> Qcow2Image::empty_clusters(u64 offset, u64 length, bool discarding, bool may_unmap) {
  int error = 0;
  {
    auto locking = lock_clusters(offset, length, true);
    const RangeLock::Guard guard = co_await locking;
    for (u64 at = offset; at < offset + length && error == 0; at += header_.cluster_size()) {
      Task<int> emptying = empty_cluster(at, discarding, may_unmap);
      error = co_await emptying;
    }
  }
  Task<int> flushing = flush_if_crowded();
  const int later = co_await flushing;
  co_return error != 0 ? error : later;
}

// A whole cluster reads as zeroes; when `discarding` it may as well stay as it is.
Task<int> Qcow2Image::empty_cluster(u64 offset, bool discarding, bool may_unmap) {
  Task<Io<TableSliceRef>> getting = table(offset, false);
  const Io<TableSliceRef> slice = co_await getting;
  if (!slice) co_return slice.error();
  const u64 entry = *slice ? (*slice)->be64(entry_index(offset)) : 0;
  const Qcow2Cluster old = decode_l2_entry(header_, entry);
  if (old.kind == Kind::kInvalid) co_return EIO;
  if (old.kind == Kind::kZero && (old.host == 0 || !may_unmap)) co_return 0;
  if (old.kind == Kind::kUnallocated && !backing_) co_return 0;
  const bool flagged = header_.version >= 3;  // can say "zeroes"
  if (!flagged && backing_) {
    if (discarding) co_return 0;
    // With the cluster locked, and a buffer that is a whole one.
    Buffers zeroes;
    append_zeroes(zeroes, header_.cluster_size());
    Task<int> writing = write_anywhere(offset, zeroes);
    const int error = co_await writing;
    co_return error;
  }
  const bool keep = flagged && !may_unmap && old.kind == Kind::kNormal && old.copied;
  const u64 emptied = keep ? entry | kQcow2Zero : flagged && backing_ ? kQcow2Zero : 0;
  Task<int> setting = set_entry(offset, emptied, keep);
  const int error = co_await setting;
  co_return error;
}

}  // namespace vellum
