#include "devices/virtio/blk.hpp"

#include <algorithm>

#include "io/disk/disk_config.hpp"

namespace vellum::virtio {
namespace {

// Features (§5.2.3).
constexpr u64 kSegMax = 1 << 2, kReadOnly = 1 << 5, kBlockSize = 1 << 6, kFlush = 1 << 9, kTopology = 1 << 10,
              kMultiQueue = 1 << 12, kDiscard = 1 << 13, kWriteZeroes = 1 << 14;
// Request types and status (§5.2.6).
constexpr u32 kIn = 0, kOut = 1, kFlushType = 4, kGetId = 8, kDiscardType = 11, kWriteZeroesType = 13;
constexpr u8 kOk = 0, kIoError = 1, kUnsupported = 2;
constexpr u64 kHeaderSize = 16, kRangeSize = 16;
constexpr u32 kMaxSegments = Blk::kQueueSize - 2, kMaxRanges = 16;
constexpr u32 kMaxRangeSectors = 0x3fffff;  // 2 GiB less a sector
constexpr u16 kDeviceType = 2;

u64 features_of(const Disk& disk, unsigned queues) {
  u64 features = kSegMax | kBlockSize | kTopology | kFlush;
  if (queues > 1) features |= kMultiQueue;
  return features | (disk.read_only() ? kReadOnly : kDiscard | kWriteZeroes);
}

template <class T>
T field(std::span<const u8> bytes, std::size_t offset) {
  u64 value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= u64{bytes[offset + i]} << (8 * i);
  return static_cast<T>(value);
}

}  // namespace

struct Blk::Request {
  unsigned queue = 0;
  Chain chain;
  u64 status_at = 0;  ///< offset of the status byte in the writable buffers
  unsigned parts = 0;
  int error = 0;
};

Blk::Blk(const IoContext& context, std::shared_ptr<Disk> disk, unsigned queues, std::string serial,
         const State& state)
    : Device(context,
             {kDeviceType, 0x010000, "virtio-blk", features_of(*disk, queues),
              std::vector<u16>(queues, kQueueSize)},
             state.virtio),
      disk_(std::move(disk)),
      serial_(std::move(serial)),
      queue_count_(queues) {}

Blk::~Blk() {
  disk_->finish_all();
}

std::vector<u8> Blk::config() const {
  std::vector<u8> bytes;
  const auto put = [&bytes](u64 value, unsigned size) {
    for (unsigned i = 0; i < size; ++i) bytes.push_back(static_cast<u8>(value >> (8 * i)));
  };
  const u64 granule = disk_->discard_granularity() / Disk::kSector;
  put(disk_->size() / Disk::kSector, 8);
  put(0, 4);  // size_max
  put(kMaxSegments, 4);
  put(0, 4);  // geometry
  put(Disk::kSector, 4);
  put(3, 1);  // 4 KiB physical blocks
  put(0, 1), put(8, 2), put(0, 4);
  put(0, 1), put(0, 1);  // writeback, unused
  put(queue_count_, 2);
  put(kMaxRangeSectors, 4), put(kMaxRanges, 4), put(granule, 4);
  put(kMaxRangeSectors, 4), put(kMaxRanges, 4), put(1, 1), put(0, 3);
  return bytes;
}

void Blk::process(unsigned index) {
  Queue* const q = queue(index);
  if (q == nullptr) return;
  q->disable_notifications();
  // No more than the ring has: a driver that refills it as fast must not keep the loop.
  for (unsigned taken = 0; taken < q->state().size; ++taken) {
    auto request = std::make_shared<Request>();
    if (!q->pop(request->chain)) break;
    request->queue = index;
    begin(std::move(request));
  }
  check(index);
  if (context().synchronous) disk_->finish_all();
  if (q->enable_notifications()) look_again(index);
}

void Blk::begin(std::shared_ptr<Request> request) {
  requests_.add();
  const Chain& chain = request->chain;
  const u64 writable = chain.writable_size();
  std::array<u8, kHeaderSize> header{};
  // GUEST-CONTROLLED: the header. Without room for a status byte nothing can be answered.
  if (writable == 0 || read_chain(chain, 0, header) != kHeaderSize)
    return needs_reset("a request without a header or a status byte");
  request->status_at = writable - 1;
  const auto type = field<u32>(header, 0);
  const auto sector = field<u64>(header, 8);

  DiskRequest io;
  const u64 data_in = writable - 1, data_out = chain.readable_size() - kHeaderSize;
  const bool writes = type == kOut || type == kDiscardType || type == kWriteZeroesType;
  if (writes && disk_->read_only()) return end(*request, kIoError, 0);
  switch (type) {
    case kIn:
    case kOut: {
      const u64 length = type == kIn ? data_in : data_out;
      const u64 sectors = disk_->size() / Disk::kSector;
      if (length % Disk::kSector != 0 || sector > sectors || length / Disk::kSector > sectors - sector)
        return end(*request, kIoError, 0);
      if (length == 0) return end(*request, kOk, 0);
      io.kind = type == kIn ? DiskRequest::Kind::kRead : DiskRequest::Kind::kWrite;
      io.offset = sector * Disk::kSector;
      io.length = length;
      u64 skip = type == kIn ? 0 : kHeaderSize, left = length;
      for (const Buffer& buffer : type == kIn ? chain.writable : chain.readable) {
        const u64 from = std::min<u64>(skip, buffer.host.size());
        const u64 here = std::min<u64>(buffer.host.size() - from, left);
        skip -= from;
        left -= here;
        if (here == 0) continue;
        // A guest's page cache, when it reads ahead, is memory that was not touched before.
        if (type == kIn) dma().ram().will_use(buffer.host);
        io.buffers.push_back({buffer.host.data() + from, here});
      }
      (type == kIn ? read_bytes_ : written_bytes_).add(length);
      break;
    }
    case kFlushType:
      io.kind = DiskRequest::Kind::kFlush;
      break;
    case kGetId: {
      std::array<u8, kMaxDiskSerial> id{};
      std::copy_n(serial_.begin(), std::min<std::size_t>(serial_.size(), id.size()), id.begin());
      const u64 room = std::min<u64>(data_in, id.size());
      const u64 given = write_chain(dma(), chain, 0, std::span(id).first(room));
      return end(*request, kOk, given);
    }
    case kDiscardType:
    case kWriteZeroesType:
      return begin_ranges(std::move(request), type);
    default:
      return end(*request, kUnsupported, 0);
  }
  const u64 read_length = io.kind == DiskRequest::Kind::kRead ? io.length : 0;
  const bool stable = type == kOut && relies_on_writes();
  io.done = [this, request, read_length, stable](int error) {
    if (stable && error == 0) return flush_and_end(request);
    note_written(dma(), request->chain, read_length);
    end(*request, error == 0 ? kOk : kIoError, error == 0 ? read_length : 0);
  };
  disk_->submit(std::move(io));
}

// A driver that knows no flush may rely on what it has written (§5.2.6.2).
bool Blk::relies_on_writes() const {
  return (driver_features() & kFlush) == 0;
}

void Blk::flush_and_end(std::shared_ptr<Request> request) {
  DiskRequest flush;
  flush.kind = DiskRequest::Kind::kFlush;
  flush.done = [this, request](int error) { end(*request, error == 0 ? kOk : kIoError, 0); };
  disk_->submit(std::move(flush));
}

// §5.2.6.1: struct virtio_blk_discard_write_zeroes: sector (8), number of sectors (4), flags (4; bit 0:
// unmap).
void Blk::begin_ranges(std::shared_ptr<Request> request, u32 type) {
  const u64 bytes = request->chain.readable_size() - kHeaderSize;
  if (bytes == 0 || bytes % kRangeSize != 0 || bytes / kRangeSize > kMaxRanges)
    return end(*request, kIoError, 0);
  std::vector<DiskRequest> parts;
  const u64 sectors = disk_->size() / Disk::kSector;
  for (u64 at = 0; at < bytes; at += kRangeSize) {
    std::array<u8, kRangeSize> range{};
    read_chain(request->chain, kHeaderSize + at, range);
    const auto sector = field<u64>(range, 0);
    const auto count = field<u32>(range, 8), flags = field<u32>(range, 12);
    const bool zeroes = type == kWriteZeroesType;
    if (flags > 1 || (flags != 0 && !zeroes)) return end(*request, kUnsupported, 0);
    if (count > kMaxRangeSectors || sector > sectors || count > sectors - sector)
      return end(*request, kIoError, 0);
    if (count == 0) continue;
    DiskRequest& part = parts.emplace_back();
    part.kind = zeroes ? DiskRequest::Kind::kWriteZeroes : DiskRequest::Kind::kDiscard;
    part.offset = sector * Disk::kSector;
    part.length = u64{count} * Disk::kSector;
    part.may_unmap = flags != 0;
  }
  if (parts.empty()) return end(*request, kOk, 0);
  request->parts = static_cast<unsigned>(parts.size());
  const bool stable = type == kWriteZeroesType && relies_on_writes();
  for (DiskRequest& part : parts) {
    part.done = [this, request, stable](int error) {
      if (error != 0) request->error = error;
      if (--request->parts != 0) return;
      if (stable && request->error == 0) return flush_and_end(request);
      end(*request, request->error == 0 ? kOk : kIoError, 0);
    };
    disk_->submit(std::move(part));
  }
}

void Blk::end(Request& request, u8 status, u64 written) {
  if (status != kOk) failures_.add();
  write_chain(dma(), request.chain, request.status_at, {&status, 1});
  complete(request.queue, request.chain, static_cast<u32>(written + 1));
}

void Blk::stop() {
  disk_->finish_all();
}

void Blk::quiesce() {
  disk_->finish_all();
}

SavedState Blk::save() const {
  State state;
  state.virtio = device_state();
  return encode_state(state);
}

void Blk::stats(std::vector<StatRow>& rows) const {
  Device::stats(rows);
  if (requests_.get() != 0) rows.push_back({"virtio-blk", "requests", requests_.get(), 0});
  if (failures_.get() != 0) rows.push_back({"virtio-blk", "requests that failed", failures_.get(), 0});
  if (read_bytes_.get() != 0) rows.push_back({"virtio-blk", "bytes read", read_bytes_.get(), 0});
  if (written_bytes_.get() != 0) rows.push_back({"virtio-blk", "bytes written", written_bytes_.get(), 0});
}

}  // namespace vellum::virtio
