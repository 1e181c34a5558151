#include "io/disk/qcow2_refcounts.hpp"

#include <algorithm>
#include <cerrno>

#include "base/log.hpp"

namespace vellum {
namespace {

constexpr u64 kCacheBytes = u64{1} << 20, kSlice = 4096;
constexpr u64 kSearchBeyond = u64{1} << 30;

}  // namespace

Qcow2Refcounts::Qcow2Refcounts(HostFile& file, Qcow2Header& header, std::vector<u64> table)
    : file_(file),
      header_(header),
      table_(std::move(table)),
      cache_(file, std::min(kSlice, header.cluster_size()), kCacheBytes),
      lock_(file.queue()),
      fresh_from_(file.is_block_device() ? Qcow2Header::kMaxHostOffset
                                         : align_up(file.initial_size(), header.cluster_size())) {
  for (u64& entry : table_) {
    entry &= kQcow2OffsetMask;  // the rest is reserved
    if (entry != 0) blocks_.insert(entry);
  }
}

u64 Qcow2Refcounts::get(const Place& place) const {
  const u8* const bytes = place.slice->bytes.data();
  switch (header_.refcount_order) {
    case 3:
      return bytes[place.index];
    case 4:
      return load_be16(bytes + place.index * 2);
    case 5:
      return load_be32(bytes + place.index * 4);
    case 6:
      return load_be64(bytes + place.index * 8);
    default:
      break;
  }
  const u64 at = place.index << header_.refcount_order;  // in bits
  return (bytes[at / 8] >> (at % 8)) & low_mask(1u << header_.refcount_order);
}

void Qcow2Refcounts::set(const Place& place, u64 value) {
  u8* const bytes = place.slice->bytes.data();
  switch (header_.refcount_order) {
    case 3:
      bytes[place.index] = static_cast<u8>(value);
      break;
    case 4:
      store_be16(bytes + place.index * 2, static_cast<u16>(value));
      break;
    case 5:
      store_be32(bytes + place.index * 4, static_cast<u32>(value));
      break;
    case 6:
      store_be64(bytes + place.index * 8, value);
      break;
    default: {
      const u64 at = place.index << header_.refcount_order;
      const u64 mask = low_mask(1u << header_.refcount_order) << (at % 8);
      bytes[at / 8] = static_cast<u8>((bytes[at / 8] & ~mask) | (value << (at % 8)));
    }
  }
  cache_.set_dirty(place.slice);
}

bool Qcow2Refcounts::touches_metadata(u64 host, u64 length) const {
  const auto touches = [&](u64 offset, u64 bytes) { return host < offset + bytes && offset < host + length; };
  const u64 cluster = header_.cluster_size();
  if (touches(0, cluster) || touches(header_.l1_offset, u64{header_.l1_entries} * 8) ||
      touches(header_.refcount_table_offset, u64{header_.refcount_table_clusters} << header_.cluster_bits))
    return true;
  for (u64 at = align_down(host, cluster); at < host + length; at += cluster)
    if (blocks_.contains(at)) return true;
  return false;
}

// Where the count of a cluster is; null if no block has it.
Task<Io<Qcow2Refcounts::Place>> Qcow2Refcounts::find(u64 cluster) {
  const u64 index = cluster >> header_.block_bits();
  const u64 block = index < table_.size() ? table_[index] : 0;
  if (block == 0) co_return Place{nullptr, 0};
  if (block % header_.cluster_size() != 0) {  // GUEST-CONTROLLED
    VELLUM_WARN_GUEST("'{}' is corrupt: a block of refcounts at {:#x}", file_.path(), block);
    co_return tl::unexpected(EIO);
  }
  const u64 within = cluster & low_mask(header_.block_bits());
  Task<Io<TableSliceRef>> getting = cache_.get(block + within / counts_per_slice() * cache_.slice_size());
  Io<TableSliceRef> slice = co_await getting;
  if (!slice) co_return tl::unexpected(slice.error());
  co_return Place{std::move(*slice), within % counts_per_slice()};
}

Task<Io<u64>> Qcow2Refcounts::count(u64 host) {
  Task<Io<Place>> finding = find(host >> header_.cluster_bits);
  const Io<Place> place = co_await finding;
  if (!place) co_return tl::unexpected(place.error());
  co_return place->slice ? get(*place) : 0;
}

Task<Io<Qcow2Refcounts::Run>> Qcow2Refcounts::allocate(u64 wanted) {
  auto locking = lock_.lock(0, 0, true);
  const RangeLock::Guard guard = co_await locking;
  Task<Io<Run>> searching = search(wanted);
  Io<Run> run = co_await searching;
  co_return run;
}

Task<Io<Qcow2Refcounts::Run>> Qcow2Refcounts::search(u64 wanted) {
  for (;;) {
    if (next_ > last_cluster()) co_return tl::unexpected(ENOSPC);
    const u64 index = next_ >> header_.block_bits();
    if (index >= table_.size() || table_[index] == 0) {
      Task<int> making = index >= table_.size() ? grow_table() : make_block(index);
      if (const int error = co_await making; error != 0) co_return tl::unexpected(error);
      continue;
    }
    Task<Io<Place>> finding = find(next_);
    Io<Place> place = co_await finding;
    if (!place) co_return tl::unexpected(place.error());
    const u64 per_slice = counts_per_slice();
    while (place->index < per_slice && get(*place) != 0) ++place->index, ++next_;
    // GUEST-CONTROLLED: a file may say that what it does not reach is used; it would take for ever to pass
    // that by.
    if (next_ << header_.cluster_bits > fresh_from_ + kSearchBeyond) {
      VELLUM_WARN_GUEST("'{}' is corrupt: its refcounts say that clusters beyond its end are used",
                        file_.path());
      co_return tl::unexpected(EIO);
    }
    if (place->index == per_slice) continue;
    Run run;
    run.host = next_ << header_.cluster_bits;
    for (; place->index < per_slice && run.clusters < wanted && get(*place) == 0;
         ++place->index, ++run.clusters) {
      // GUEST-CONTROLLED: a file may say that its own tables are free.
      if (touches_metadata(run.host + (run.clusters << header_.cluster_bits), 1)) break;
      set(*place, 1);
    }
    if (run.clusters == 0) {
      VELLUM_WARN_GUEST("'{}' is corrupt: its refcounts say that the metadata at {:#x} is free", file_.path(),
                        run.host);
      co_return tl::unexpected(EIO);
    }
    next_ += run.clusters;
    run.fresh = run.host >= fresh_from_;
    fresh_from_ = std::max(fresh_from_, next_ << header_.cluster_bits);
    co_return run;
  }
}

// A block or more of counts, of which the first so many are 1.
std::vector<u8> Qcow2Refcounts::counts_of_one(u64 counts) const {
  const u64 bits_used = counts << header_.refcount_order;
  std::vector<u8> bytes(align_up((bits_used + 7) / 8, header_.cluster_size()));
  const u64 width = u64{1} << header_.refcount_order;
  for (u64 i = 0; i < counts; ++i) {
    // The lowest bit of a big-endian number is in its last byte.
    const u64 at = width >= 8 ? (i + 1) * width / 8 - 1 : i * width / 8;
    bytes[at] = static_cast<u8>(bytes[at] | (width >= 8 ? 1u : 1u << (i * width % 8)));
  }
  return bytes;
}

Task<int> Qcow2Refcounts::make_block(u64 index) {
  if (index << header_.block_bits() > last_cluster()) co_return ENOSPC;
  const u64 host = index << header_.block_bits() << header_.cluster_bits;
  if (touches_metadata(host, header_.cluster_size())) co_return EIO;
  const std::vector<u8> block = counts_of_one(1);
  const iovec whole = buffer_of(std::span<const u8>(block));
  Task<int> writing = file_.write(host, std::span<const iovec>(&whole, 1));
  if (const int error = co_await writing; error != 0) co_return error;
  Task<int> syncing = file_.sync();
  if (const int error = co_await syncing; error != 0) co_return error;
  u8 entry[8];
  store_be64(entry, host);
  const iovec part{entry, sizeof entry};
  Task<int> entering =
      file_.write(header_.refcount_table_offset + index * 8, std::span<const iovec>(&part, 1));
  if (const int error = co_await entering; error != 0) co_return error;
  cache_.forget(host, header_.cluster_size());
  table_[index] = host;
  blocks_.insert(host);
  fresh_from_ = std::max(fresh_from_, host + header_.cluster_size());
  co_return 0;
}

Task<int> Qcow2Refcounts::grow_table() {
  const u64 cluster_bits = header_.cluster_bits, cluster = header_.cluster_size();
  const u64 per_block = bit(header_.block_bits());
  const u64 old_entries = table_.size(), old_offset = header_.refcount_table_offset,
            old_clusters = header_.refcount_table_clusters;
  const u64 clusters = old_clusters * 2;
  const u64 entries = clusters * cluster / 8;
  const u64 blocks = (clusters + per_block - 2) / (per_block - 1);
  if (clusters << cluster_bits > Qcow2Header::kMaxRefcountTableBytes || old_entries + blocks > entries ||
      old_entries * per_block + blocks + clusters > last_cluster())
    co_return ENOSPC;
  const u64 start = old_entries * per_block << cluster_bits;
  std::vector<u8> bytes = counts_of_one(blocks + clusters);
  bytes.resize((blocks + clusters) << cluster_bits);
  std::vector<u64> table = table_;
  table.resize(entries);
  for (u64 i = 0; i < blocks; ++i) table[old_entries + i] = start + (i << cluster_bits);
  for (u64 i = 0; i < entries; ++i) store_be64(&bytes[(blocks << cluster_bits) + i * 8], table[i]);
  const iovec whole = buffer_of(std::span<const u8>(bytes));
  Task<int> writing = file_.write(start, std::span<const iovec>(&whole, 1));
  if (const int error = co_await writing; error != 0) co_return error;
  Task<int> syncing = file_.sync();
  if (const int error = co_await syncing; error != 0) co_return error;
  u8 fields[12];
  const u64 offset = start + (blocks << cluster_bits);
  store_be64(fields, offset);
  store_be32(fields + 8, static_cast<u32>(clusters));
  const iovec part{fields, sizeof fields};
  Task<int> naming = file_.write(Qcow2Header::kRefcountTableAt, std::span<const iovec>(&part, 1));
  if (const int error = co_await naming; error != 0) co_return error;
  Task<int> keeping = file_.sync();
  if (const int error = co_await keeping; error != 0) co_return error;
  header_.refcount_table_offset = offset;
  header_.refcount_table_clusters = static_cast<u32>(clusters);
  for (u64 i = 0; i < blocks; ++i) blocks_.insert(table[old_entries + i]);
  table_ = std::move(table);
  cache_.forget(start, blocks << cluster_bits);
  fresh_from_ = std::max(fresh_from_, start + ((blocks + clusters) << cluster_bits));
  for (u64 i = 0; i < old_clusters; ++i) {
    Task<int> releasing = release_locked(old_offset + (i << cluster_bits));
    if (const int error = co_await releasing; error != 0) co_return error;
  }
  co_return 0;
}

Task<int> Qcow2Refcounts::release(u64 host) {
  auto locking = lock_.lock(0, 0, true);
  const RangeLock::Guard guard = co_await locking;
  Task<int> releasing = release_locked(host);
  const int error = co_await releasing;
  co_return error;
}

Task<int> Qcow2Refcounts::release_locked(u64 host) {
  const u64 cluster = host >> header_.cluster_bits;
  Task<Io<Place>> finding = find(cluster);
  const Io<Place> place = co_await finding;
  if (!place) co_return place.error();
  const u64 before = place->slice ? get(*place) : 0;
  if (before == 0) {
    VELLUM_WARN_GUEST("'{}' is corrupt: the cluster at {:#x} is used, and its refcount is 0", file_.path(),
                      host);
    co_return 0;
  }
  set(*place, before - 1);
  if (before == 1) next_ = std::min(next_, cluster);
  co_return 0;
}

}  // namespace vellum
