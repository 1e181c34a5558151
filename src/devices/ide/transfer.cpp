// A channel's data: blocks through the data register on a vCPU's thread, requests of the medium and the bus
// master's transfers on the loop's.
#include <algorithm>
#include <utility>

#include "devices/ide/channel.hpp"

namespace vellum::ide {
namespace {

constexpr u64 kBufferSectors = kBufferSize / kSector;

}  // namespace

// ---- Data by the register ----

void Channel::offer(std::vector<u8> bytes, u32 block) {
  s_.phase = Phase::kPioIn;
  s_.left = 0;
  s_.block = block;
  s_.buffer = std::move(bytes);
  s_.position = s_.block_end = 0;
  next_block();
  interrupt();
}

// The next block of the buffer; for a write, of room.
void Channel::next_block() {
  TaskFile& f = file();
  if (s_.phase == Phase::kPioOut) {
    s_.buffer.assign(std::min<u64>(s_.left * kSector, s_.block), 0);
    s_.position = 0;
    s_.block_end = static_cast<u32>(s_.buffer.size());
  } else {
    s_.block_end = std::min<u32>(s_.position + s_.block, static_cast<u32>(s_.buffer.size()));
  }
  f.status = kReady | kSeekDone | kDataRequest;
  if (!s_.packet) return;
  f.count = kToHost;
  const u32 size = s_.block_end - s_.position;
  f.lba_mid = static_cast<u8>(size);
  f.lba_high = static_cast<u8>(size >> 8);
}

// The register has moved all of a block.
void Channel::block_done() {
  TaskFile& f = file();
  switch (s_.phase) {
    case Phase::kPacket: {
      Packet packet{};
      std::copy_n(s_.buffer.begin(), kPacketSize, packet.begin());
      s_.phase = Phase::kIdle;
      return begin_packet(packet);
    }
    case Phase::kPioOut:
      f.status = kBusy;
      s_.work = true;
      return;
    default:
      break;
  }
  if (s_.position < s_.buffer.size()) {
    next_block();
    return interrupt();
  }
  if (s_.left != 0) {
    f.status = kBusy;
    s_.work = true;
  } else if (s_.packet) {
    finish();
  } else {
    s_.phase = Phase::kIdle;
    f.status = kReady | kSeekDone;  // the last block's interrupt was its data request's
  }
}

// ---- Work on the loop ----

void Channel::ring(bool needed) {
  if (needed) doorbells_.ring(0);
}

// With mutex_ held: what the command needs next of the medium, or nothing if it needs nothing.
std::optional<DiskRequest> Channel::next_request() {
  if (!take_work() || under_way_ || s_.phase == Phase::kIdle || !present(selected())) return std::nullopt;
  const bool in = s_.phase == Phase::kPioIn || s_.phase == Phase::kDmaIn;
  auto buffer = std::make_shared<std::vector<u8>>();
  DiskRequest request;
  const bool has_reply = s_.phase == Phase::kDmaIn && !s_.buffer.empty();
  if (!has_reply && drive().medium == nullptr) {
    fail_packet(kNoMedium);
    return std::nullopt;
  }
  if (s_.phase == Phase::kFlush) {
    request.kind = DiskRequest::Kind::kFlush;
  } else if (in) {
    if (has_reply) {  // a packet's
      if (!s_.master.active()) return std::nullopt;
      if (!s_.master.to_guest(dma_, s_.buffer)) {
        fail_packet({0x04, 0x00});
      } else {
        finish();
      }
      s_.buffer.clear();
      return std::nullopt;
    }
    request.kind = DiskRequest::Kind::kRead;
    buffer->resize(std::min(s_.left, kBufferSectors) * kSector);
  } else if (s_.phase == Phase::kPioOut) {
    request.kind = DiskRequest::Kind::kWrite;
    *buffer = std::move(s_.buffer);
    s_.buffer.clear();
    s_.position = s_.block_end = 0;
  } else if (s_.phase == Phase::kDmaOut) {
    request.kind = DiskRequest::Kind::kWrite;
    buffer->resize(std::min(s_.left, kBufferSectors) * kSector);
    if (!s_.master.from_guest(dma_, *buffer)) {
      fail(kAborted);
      return std::nullopt;
    }
  } else {
    return std::nullopt;
  }
  if (!buffer->empty()) {
    request.offset = s_.sector * kSector;
    request.length = buffer->size();
    request.buffers = {{buffer->data(), buffer->size()}};
    (in ? read_bytes_ : written_bytes_).add(buffer->size());
  }
  under_way_ = true;
  request.done = [this, buffer, generation = generation_](int error) {
    requested(generation, buffer, error);
  };
  return request;
}

void Channel::requested(u64 generation, const std::shared_ptr<std::vector<u8>>& buffer, int error) {
  {
    const std::scoped_lock lock(mutex_);
    if (generation != generation_) return;
    under_way_ = false;
    if (error != 0) {
      if (s_.packet) return fail_packet({0x03, 0x11});  // medium error, unrecovered
      return fail(s_.phase == Phase::kFlush ? kAborted : kUncorrectable);
    }
    if (s_.phase == Phase::kFlush) return finish();
    const u64 done = buffer->size() / kSector;
    s_.sector += done;
    s_.left -= std::min(done, s_.left);
    switch (s_.phase) {
      case Phase::kPioIn:
        s_.buffer = std::move(*buffer);
        s_.position = s_.block_end = 0;
        next_block();
        return interrupt();
      case Phase::kPioOut:
        if (s_.left == 0) return finish();
        next_block();
        return interrupt();
      case Phase::kDmaIn:
        if (!s_.master.active()) return;  // it was stopped
        if (!s_.master.to_guest(dma_, *buffer)) return s_.packet ? fail_packet({0x04, 0x00}) : fail(kAborted);
        [[fallthrough]];
      case Phase::kDmaOut:
        if (s_.left == 0) return finish();
        s_.work = s_.master.active();
        break;
      default:
        return;
    }
  }
  submit();
}

bool Channel::submit() {
  std::optional<DiskRequest> request;
  std::shared_ptr<Disk> medium;
  {
    const std::scoped_lock lock(mutex_);
    request = next_request();
    medium = drive().medium;
  }
  if (!request) return false;
  medium->submit(std::move(*request));
  return true;
}

void Channel::run() {
  if (!submit() || !context_.synchronous) return;
  for (Drive& d : drives_)
    if (d.medium) d.medium->finish_all();
}

}  // namespace vellum::ide
