// Qcow2Image: opening, where clusters are, reading.
#include <algorithm>
#include <cerrno>

#include "base/log.hpp"
#include "io/disk/qcow2_compression.hpp"
#include "io/disk/qcow2_image.hpp"

namespace vellum {
namespace {

constexpr u64 kL2CacheBytes = u64{8} << 20, kSlice = 4096, kUnpackedClusters = 4;

std::vector<u64> numbers_of(std::span<const u8> bytes) {
  std::vector<u64> numbers(bytes.size() / 8);
  for (u64 i = 0; i < numbers.size(); ++i) numbers[i] = load_be64(&bytes[i * 8]);
  return numbers;
}

}  // namespace

Result<std::unique_ptr<Qcow2Image>> Qcow2Image::open(std::unique_ptr<HostFile> file, bool writable) {
  VELLUM_TRY_ASSIGN(
      begin, file->read_now(0, std::min<u64>(file->initial_size(), bit(Qcow2Header::kMaxClusterBits))));
  auto header = parse_qcow2_header(begin, writable);
  if (!header) return tl::unexpected(std::move(header).error().context(fmt::format("'{}'", file->path())));
  if (header->size == 0)
    return fail(ErrorCode::kBadInput, "'{}': the qcow2 image's disk has no bytes", file->path());
  VELLUM_TRY_ASSIGN(l1, file->read_now(header->l1_offset, u64{header->l1_entries} * 8));
  VELLUM_TRY_ASSIGN(refcounts, file->read_now(header->refcount_table_offset,
                                              u64{header->refcount_table_clusters} << header->cluster_bits));
  if (writable && header->version >= 3 && header->autoclear != 0) {
    // Features whose data we do not keep right: who knows them must see that.
    u8 none[8] = {};
    VELLUM_TRY(file->write_now(Qcow2Header::kAutoclearAt, none));
    header->autoclear = 0;
  }
  return std::unique_ptr<Qcow2Image>(
      new Qcow2Image(std::move(file), *header, numbers_of(l1), numbers_of(refcounts)));
}

Qcow2Image::Qcow2Image(std::unique_ptr<HostFile> file, const Qcow2Header& header, std::vector<u64> l1,
                       std::vector<u64> refcounts)
    : file_(std::move(file)),
      header_(header),
      l1_(std::move(l1)),
      l2_(*file_, std::min(kSlice, header.cluster_size()), kL2CacheBytes),
      refcounts_(*file_, header_, std::move(refcounts)),
      clusters_(file_->queue()),
      tables_(file_->queue()),
      flushing_(file_->queue()) {}

/// Of the disk's byte `offset` within its slice of an L2 table.
u64 Qcow2Image::entry_index(u64 offset) const {
  return (offset >> header_.cluster_bits) % (l2_.slice_size() / 8);
}

// The slice of the L2 table that has the entry of `offset`; null if there is none. `change`: one that may be
// changed, made if need be.
Task<Io<TableSliceRef>> Qcow2Image::table(u64 offset, bool change) {
  const u64 l1_index = offset >> (header_.cluster_bits + header_.l2_bits());
  if (l1_index >= l1_.size()) co_return tl::unexpected(EIO);
  if (change && (l1_[l1_index] & kQcow2Copied) == 0) {
    Task<int> making = make_table(l1_index);
    if (const int error = co_await making; error != 0) co_return tl::unexpected(error);
  }
  const u64 host = l1_[l1_index] & kQcow2OffsetMask;
  if (host == 0 && !change) co_return TableSliceRef();
  // GUEST-CONTROLLED: the L1 entry; what is read there, too.
  if (host % header_.cluster_size() != 0 ||
      (change && refcounts_.touches_metadata(host, header_.cluster_size()))) {
    VELLUM_WARN_GUEST("'{}' is corrupt: an L2 table at {:#x}", file_->path(), host);
    co_return tl::unexpected(EIO);
  }
  const u64 within = ((offset >> header_.cluster_bits) & low_mask(header_.l2_bits())) * 8;
  Task<Io<TableSliceRef>> getting = l2_.get(host + align_down(within, l2_.slice_size()));
  Io<TableSliceRef> slice = co_await getting;
  co_return slice;
}

// A table of our own for the L1 entry: empty, or a copy of one that a snapshot has as well.
Task<int> Qcow2Image::make_table(u64 l1_index) {
  auto locking = tables_.lock(0, 0, true);
  const RangeLock::Guard guard = co_await locking;
  const u64 old = l1_[l1_index];
  if ((old & kQcow2Copied) != 0) co_return 0;  // made while we waited
  const u64 old_host = old & kQcow2OffsetMask;
  if (old_host % header_.cluster_size() != 0) co_return EIO;
  std::vector<u8> bytes(header_.cluster_size());
  const iovec whole = buffer_of(std::span<u8>(bytes));
  if (old_host != 0) {
    // Nothing of it is dirty: it was not ours to change.
    Task<int> reading = file_->read(old_host, std::span<const iovec>(&whole, 1));
    if (const int error = co_await reading; error != 0) co_return error;
  }
  Task<Io<Qcow2Refcounts::Run>> allocating = refcounts_.allocate(1);
  const Io<Qcow2Refcounts::Run> run = co_await allocating;
  if (!run) co_return run.error();
  Task<int> writing = file_->write(run->host, std::span<const iovec>(&whole, 1));
  if (const int error = co_await writing; error != 0) {
    freed_.push_back(run->host);
    co_return error;
  }
  l2_.forget(run->host, header_.cluster_size());
  l1_[l1_index] = run->host | kQcow2Copied;
  dirty_l1_.insert(l1_index / 64);
  if (old_host != 0) freed_.push_back(old_host);
  co_return 0;
}

// Where a range is, cluster by cluster; neighbours in one place are one extent.
Task<Io<std::vector<Qcow2Image::Extent>>> Qcow2Image::map(u64 offset, u64 length) {
  using Kind = Qcow2Cluster::Kind;
  std::vector<Extent> extents;
  const u64 cluster = header_.cluster_size();
  const u64 reach = l2_.slice_size() / 8 * cluster;
  for (const u64 end = offset + length; offset < end;) {
    const u64 slice_end = std::min(end, align_down(offset, reach) + reach);
    Task<Io<TableSliceRef>> getting = table(offset, false);
    const Io<TableSliceRef> slice = co_await getting;
    if (!slice) co_return tl::unexpected(slice.error());
    if (!*slice) {
      extents.push_back({offset, slice_end - offset, {}});
      offset = slice_end;
      continue;
    }
    for (; offset < slice_end;) {
      const u64 part = std::min(slice_end, align_down(offset, cluster) + cluster) - offset;
      const Qcow2Cluster where = decode_l2_entry(header_, (*slice)->be64(entry_index(offset)));
      if (where.kind == Kind::kInvalid) {
        VELLUM_WARN_GUEST("'{}' is corrupt: an L2 entry of {:#x} for the disk's {:#x}", file_->path(),
                          (*slice)->be64(entry_index(offset)), offset);
        co_return tl::unexpected(EIO);
      }
      Extent* const last = extents.empty() ? nullptr : &extents.back();
      const bool joins =
          last != nullptr && last->where.kind == where.kind && last->where.copied == where.copied &&
          (where.kind == Kind::kUnallocated ||
           (where.kind == Kind::kZero && where.host == 0 && last->where.host == 0) ||
           (where.kind == Kind::kNormal && where.host == last->where.host + align_down(offset, cluster) -
                                                             align_down(last->offset, cluster)));
      if (joins) {
        last->length += part;
      } else {
        extents.push_back({offset, part, where});
      }
      offset += part;
    }
  }
  co_return extents;
}

Task<int> Qcow2Image::read(u64 offset, std::span<const iovec> buffers) {
  auto locking = lock_clusters(offset, total_length(buffers), false);
  const RangeLock::Guard guard = co_await locking;
  Task<int> reading = read_mapped(offset, buffers);
  const int error = co_await reading;
  co_return error;
}

Task<int> Qcow2Image::read_mapped(u64 offset, std::span<const iovec> buffers) {
  Task<Io<std::vector<Extent>>> mapping = map(offset, total_length(buffers));
  const Io<std::vector<Extent>> extents = co_await mapping;
  if (!extents) co_return extents.error();
  if (extents->size() == 1) {
    Task<int> reading = read_extent(extents->front(), buffers);
    const int error = co_await reading;
    co_return error;
  }
  TaskGroup group;
  std::list<Buffers> parts;
  for (const Extent& extent : *extents)
    group.add(read_extent(extent,
                          parts.emplace_back(slice_buffers(buffers, extent.offset - offset, extent.length))));
  auto all = group.wait();
  const int error = co_await all;
  co_return error;
}

Task<int> Qcow2Image::read_extent(Extent extent, std::span<const iovec> buffers) {
  using Kind = Qcow2Cluster::Kind;
  switch (extent.where.kind) {
    case Kind::kUnallocated:
      return read_backing(extent.offset, buffers);
    case Kind::kCompressed:
      return read_compressed(extent, buffers);
    case Kind::kNormal:
      return file_->read(extent.where.host + extent.offset % header_.cluster_size(), buffers);
    case Kind::kZero:
    case Kind::kInvalid:
      break;
  }
  return [](std::span<const iovec> zeroes) -> Task<int> {
    fill_zero(zeroes);
    co_return 0;
  }(buffers);
}

// What the backing image does not reach reads as zeroes.
Task<int> Qcow2Image::read_backing(u64 offset, std::span<const iovec> buffers) {
  const u64 length = total_length(buffers);
  const u64 there = backing_ && offset < backing_->size() ? std::min(length, backing_->size() - offset) : 0;
  if (there < length) fill_zero(slice_buffers(buffers, there, length - there));
  if (there == 0) co_return 0;
  const Buffers part = slice_buffers(buffers, 0, there);
  Task<int> reading = backing_->read(offset, part);
  const int error = co_await reading;
  co_return error;
}

Task<int> Qcow2Image::read_compressed(Extent extent, std::span<const iovec> buffers) {
  const u64 within = extent.offset % header_.cluster_size();
  auto known = std::ranges::find(unpacked_, extent.where.host, &Unpacked::host);
  if (known == unpacked_.end()) {
    std::vector<u8> compressed(extent.where.length), cluster(header_.cluster_size());
    const iovec whole = buffer_of(std::span<u8>(compressed));
    Task<int> reading = file_->read(extent.where.host, std::span<const iovec>(&whole, 1));
    if (const int error = co_await reading; error != 0) co_return error;
    if (!decompress_cluster(header_.compression, compressed, cluster)) {
      VELLUM_WARN_GUEST("'{}' is corrupt: the compressed cluster at {:#x} does not unpack", file_->path(),
                        extent.where.host);
      co_return EIO;
    }
    unpacked_.push_front({extent.where.host, std::move(cluster)});
    if (unpacked_.size() > kUnpackedClusters) unpacked_.pop_back();
    known = unpacked_.begin();
  }
  copy_to(buffers, std::span<const u8>(known->bytes).subspan(within, extent.length));
  co_return 0;
}

}  // namespace vellum
