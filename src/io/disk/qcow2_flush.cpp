// Qcow2Image: what is kept in memory goes to the file, in an order that leaves it sound at every moment.
#include <algorithm>
#include <cstring>

#include "base/log.hpp"
#include "io/disk/qcow2_image.hpp"

namespace vellum {
namespace {

constexpr std::size_t kMaxFreed = 16384;

}  // namespace

/// All that had changed at one moment.
struct Qcow2Image::Changes {
  std::vector<TableCache::Copy> refcounts, l2;
  std::vector<L1Sector> l1;
  std::vector<u64> freed;
};

// No table in memory refers to the cluster any more; those in the file may.
void Qcow2Image::give_up(const Qcow2Cluster& cluster) {
  if (cluster.kind == Qcow2Cluster::Kind::kInvalid || cluster.host == 0) return;
  // A compressed one shares clusters with others, and may lie in two.
  const u64 length = cluster.kind == Qcow2Cluster::Kind::kCompressed ? cluster.length : 1;
  for (u64 at = align_down(cluster.host, header_.cluster_size()); at < cluster.host + length;
       at += header_.cluster_size())
    freed_.push_back(at);
}

Qcow2Image::Changes Qcow2Image::take_changes() {
  Changes changes;
  changes.refcounts = refcounts_.cache().take_dirty();
  changes.l2 = l2_.take_dirty();
  for (const u64 index : std::exchange(dirty_l1_, {})) {
    L1Sector& sector = changes.l1.emplace_back(L1Sector{index, {}});
    const u64 count = std::min<u64>(64, l1_.size() - index * 64);
    sector.bytes.resize(count * 8);
    for (u64 i = 0; i < count; ++i) store_be64(&sector.bytes[i * 8], l1_[index * 64 + i]);
  }
  changes.freed = std::exchange(freed_, {});
  return changes;
}

void Qcow2Image::restore(const Changes& changes, bool refcounts) {
  if (refcounts) refcounts_.cache().restore_dirty(changes.refcounts);
  l2_.restore_dirty(changes.l2);
  for (const L1Sector& sector : changes.l1) dirty_l1_.insert(sector.index);
  freed_.insert(freed_.end(), changes.freed.begin(), changes.freed.end());
}

Task<int> Qcow2Image::flush() {
  const u64 asked = flushes_begun_;
  auto locking = flushing_.lock(0, 0, true);
  const RangeLock::Guard guard = co_await locking;
  if (flushed_ > asked) co_return 0;  // one that began after we asked did it for us
  const u64 begun = ++flushes_begun_;
  const Changes changes = take_changes();
  Task<int> writing = write_changes(changes);
  if (const int error = co_await writing; error != 0) co_return error;
  flushed_ = begun;
  // What cannot be freed is lost room, not lost data.
  Task<int> freeing = free_clusters(changes.freed);
  if (const int error = co_await freeing; error != 0)
    VELLUM_WARN_GUEST("'{}': unused clusters stay used: {}", file_->path(), std::strerror(error));
  co_return 0;
}

Task<int> Qcow2Image::write_changes(const Changes& changes) {
  Task<int> counting = refcounts_.cache().write(changes.refcounts);
  int error = co_await counting;
  if (error == 0) {
    // With the refcounts all data that the tables will name, and new tables, become stable.
    Task<int> syncing = file_->sync();
    error = co_await syncing;
  }
  if (error != 0) {
    restore(changes, true);
    co_return error;
  }
  if (changes.l2.empty() && changes.l1.empty()) co_return 0;
  Task<int> naming = write_tables(changes);
  error = co_await naming;
  if (error == 0) {
    Task<int> syncing = file_->sync();
    error = co_await syncing;
  }
  if (error != 0) restore(changes, false);
  co_return error;
}

Task<int> Qcow2Image::write_tables(const Changes& changes) {
  TaskGroup group;
  group.add(l2_.write(changes.l2));
  std::list<Buffers> sectors;
  for (const L1Sector& sector : changes.l1) {
    const Buffers& bytes = sectors.emplace_back(Buffers{buffer_of(std::span<const u8>(sector.bytes))});
    group.add(file_->write(header_.l1_offset + sector.index * 512, bytes));
  }
  auto all = group.wait();
  const int error = co_await all;
  co_return error;
}

// Nothing in the file refers to these any more: their place in it goes, then they may be used again.
Task<int> Qcow2Image::free_clusters(std::vector<u64> clusters) {
  const u64 size = header_.cluster_size();
  std::ranges::sort(clusters);
  int failed = 0;
  for (std::size_t i = 0; i < clusters.size();) {
    // A run of clusters that nothing else refers to either is punched in one piece.
    std::size_t next = i;
    for (; next < clusters.size() && clusters[next] == clusters[i] + (next - i) * size; ++next) {
      Task<Io<u64>> counting = refcounts_.count(clusters[next]);
      const Io<u64> count = co_await counting;
      if (!count || *count != 1 || refcounts_.touches_metadata(clusters[next], size)) break;
    }
    if (next > i) {
      Task<int> punching = file_->discard(clusters[i], (next - i) * size);
      if (const int error = co_await punching; error != 0) failed = error;
    }
    for (const std::size_t end = std::max(next, i + 1); i < end; ++i) {
      Task<int> releasing = refcounts_.release(clusters[i]);
      if (const int error = co_await releasing; error != 0) failed = error;
    }
  }
  co_return failed;
}

Task<int> Qcow2Image::flush_if_crowded() {
  if (!l2_.crowded() && !refcounts_.cache().crowded() && freed_.size() < kMaxFreed) co_return 0;
  Task<int> flushing = flush();
  const int error = co_await flushing;
  co_return error;
}

Task<int> Qcow2Image::close() {
  // The second for the refcounts of what the first gave up.
  Task<int> first = flush();
  if (const int error = co_await first; error != 0) co_return error;
  Task<int> second = flush();
  const int error = co_await second;
  co_return error;
}

}  // namespace vellum
