#include "devices/ide/channel.hpp"

#include <algorithm>
#include <utility>

#include "devices/ide/identify.hpp"

namespace vellum::ide {
namespace {

constexpr u64 kBufferSectors = kBufferSize / kSector;
constexpr u32 kPacketSize = 12;

struct TransferRow {
  u8 command;
  Phase phase;
  bool wide;      ///< 48-bit address
  bool multiple;  ///< several sectors for each data request
};
constexpr TransferRow kTransfers[] = {
    {kReadSectors, Phase::kPioIn, false, false},
    {kReadSectorsOnce, Phase::kPioIn, false, false},
    {kReadSectorsExt, Phase::kPioIn, true, false},
    {kReadMultiple, Phase::kPioIn, false, true},
    {kReadMultipleExt, Phase::kPioIn, true, true},
    {kWriteSectors, Phase::kPioOut, false, false},
    {kWriteSectorsOnce, Phase::kPioOut, false, false},
    {kWriteSectorsExt, Phase::kPioOut, true, false},
    {kWriteMultiple, Phase::kPioOut, false, true},
    {kWriteMultipleExt, Phase::kPioOut, true, true},
    {kReadDma, Phase::kDmaIn, false, false},
    {kReadDmaOnce, Phase::kDmaIn, false, false},
    {kReadDmaExt, Phase::kDmaIn, true, false},
    {kWriteDma, Phase::kDmaOut, false, false},
    {kWriteDmaOnce, Phase::kDmaOut, false, false},
    {kWriteDmaExt, Phase::kDmaOut, true, false},
    {kVerify, Phase::kIdle, false, false},
    {kVerifyOnce, Phase::kIdle, false, false},
    {kVerifyExt, Phase::kIdle, true, false},
};

void push(u16& reg, u8 value) {
  reg = static_cast<u16>(reg << 8 | value);
}

}  // namespace

Channel::Channel(const IoContext& context, std::array<Drive, 2> drives, InterruptLine& line, DmaView dma,
                 std::string name, const ChannelState& state)
    : context_(context),
      drives_(std::move(drives)),
      line_(line),
      dma_(dma),
      name_(std::move(name)),
      s_(state),
      doorbells_(context, [this](unsigned) { run(); }) {
  if (!s_.powered) {
    for (unsigned n = 0; n < 2; ++n)
      if (present(n)) set_signature(n);
    s_.powered = true;
  }
  sanitise();
  update_line();
}

// A damaged state: what it indexes must be there, and a command needs a drive.
void Channel::sanitise() {
  s_.device &= 0x5f;
  s_.control &= kNoInterrupts | kSoftReset | kHighOrder;
  for (TaskFile& f : s_.devices) f.multiple = std::min<u8>(f.multiple, kMaxMultiple);
  if (s_.buffer.size() > kBufferSize) s_.buffer.clear();
  s_.block = std::clamp<u32>(s_.block, 1, kBufferSize);
  s_.block_end = std::min(s_.block_end, static_cast<u32>(s_.buffer.size()));
  s_.position = std::min(s_.position, s_.block_end);
  const bool bad_packet = s_.phase == Phase::kPacket && s_.buffer.size() != kPacketSize;
  if (s_.phase > Phase::kFlush || !present(selected()) || bad_packet) s_.phase = Phase::kIdle;
  if (s_.phase == Phase::kIdle) {
    s_.work = false;
    return;
  }
  s_.sector = std::min(s_.sector, sectors());
  s_.left = std::min(s_.left, sectors() - s_.sector);
  const bool writes = s_.phase == Phase::kPioOut;
  const bool whole = s_.block % kSector == 0 && s_.buffer.size() % kSector == 0;
  if (writes && (!whole || s_.buffer.size() / kSector > s_.left)) {
    s_.phase = Phase::kIdle;
    s_.work = false;
  }
}

Channel::~Channel() {
  for (Drive& d : drives_)
    if (d.medium) d.medium->finish_all();
}

// ---- Interrupts, ends ----

void Channel::update_line() {
  line_.set(s_.interrupt && (s_.control & kNoInterrupts) == 0);
}

void Channel::interrupt() {
  s_.interrupt = true;
  s_.master.status |= kMasterInterrupt;
  update_line();
}

void Channel::set_signature(unsigned n) {
  TaskFile& f = s_.devices[n];
  const bool cdrom = drives_[n].cdrom;
  f.error = 1;
  f.count = f.lba_low = 1;
  f.lba_mid = cdrom ? 0x14 : 0;
  f.lba_high = cdrom ? 0xeb : 0;
  f.status = cdrom ? 0 : kReady | kSeekDone;
  f.multiple = 0;
}

void Channel::reset() {
  ++generation_;
  under_way_ = false;
  s_.phase = Phase::kIdle;
  s_.work = s_.interrupt = false;
  s_.device = 0;
  s_.buffer.clear();
  s_.position = s_.block_end = 0;
  for (unsigned n = 0; n < 2; ++n)
    if (present(n)) set_signature(n);
  update_line();
}

void Channel::finish() {
  if (s_.phase == Phase::kDmaIn || s_.phase == Phase::kDmaOut) s_.master.finish(true);
  s_.phase = Phase::kIdle;
  TaskFile& f = file();
  f.status = kReady | kSeekDone;
  f.error = 0;
  if (s_.packet) f.count = kIsCommand | kToHost;
  interrupt();
}

void Channel::fail(u8 error) {
  failures_.add();
  if (s_.phase == Phase::kDmaIn || s_.phase == Phase::kDmaOut) s_.master.finish(false);
  s_.phase = Phase::kIdle;
  file().status = kReady | kSeekDone | kFailed;
  file().error = error;
  interrupt();
}

void Channel::fail_packet(const Sense& sense) {
  file().sense = sense;
  fail(static_cast<u8>(sense.key << 4 | kAborted));
  file().count = kIsCommand | kToHost;
}

// ---- Registers ----

u8 Channel::read(Register reg) {
  const std::scoped_lock lock(mutex_);
  if (!present(0) && !present(1)) return 0x7f;  // nobody drives the lines; the busy bit's is pulled down
  const TaskFile& f = file();
  const unsigned shift = (s_.control & kHighOrder) != 0 ? 8 : 0;
  switch (reg) {
    case kError:
      return f.error;
    case kCount:
      return static_cast<u8>(f.count >> shift);
    case kLbaLow:
      return static_cast<u8>(f.lba_low >> shift);
    case kLbaMid:
      return static_cast<u8>(f.lba_mid >> shift);
    case kLbaHigh:
      return static_cast<u8>(f.lba_high >> shift);
    case kDevice:
      return s_.device | 0xa0;
    case kStatus:
      s_.interrupt = false;
      update_line();
      return (s_.control & kSoftReset) != 0 ? kBusy : f.status;
    default:
      return 0xff;
  }
}

u8 Channel::alternate_status() {
  const std::scoped_lock lock(mutex_);
  if (!present(0) && !present(1)) return 0x7f;
  return (s_.control & kSoftReset) != 0 ? kBusy : file().status;
}

void Channel::write(u8 reg, u8 value) {
  bool work = false;
  {
    const std::scoped_lock lock(mutex_);
    if (!present(0) && !present(1)) return;
    s_.control &= static_cast<u8>(~kHighOrder);
    if (reg == kCommand) {
      if (present(selected())) begin(value);
      work = s_.work;
    } else if ((file().status & (kBusy | kDataRequest)) == 0) {
      // Both drives take what is written.
      for (TaskFile& f : s_.devices) {
        if (reg == kFeatures) f.features = value;
        if (reg == kCount) push(f.count, value);
        if (reg == kLbaLow) push(f.lba_low, value);
        if (reg == kLbaMid) push(f.lba_mid, value);
        if (reg == kLbaHigh) push(f.lba_high, value);
      }
      if (reg == kDevice) s_.device = value & 0x5f;
    }
  }
  ring(work);
}

void Channel::write_control(u8 value) {
  const std::scoped_lock lock(mutex_);
  const bool was_reset = (s_.control & kSoftReset) != 0;
  s_.control = value & (kNoInterrupts | kSoftReset | kHighOrder);
  if ((value & kSoftReset) != 0 && !was_reset) reset();
  update_line();
}

u8 Channel::read_master(u64 offset) {
  const std::scoped_lock lock(mutex_);
  return s_.master.read(offset);
}

void Channel::write_master(u64 offset, u8 value) {
  bool work = false;
  {
    const std::scoped_lock lock(mutex_);
    const int change = s_.master.write(offset, value);
    const bool waits = (s_.phase == Phase::kDmaIn || s_.phase == Phase::kDmaOut) && !under_way_;
    if (change > 0 && waits) work = s_.work = true;
    // Stopped in the middle: the drive would wait for ever, and so it does, but for what is under way.
    if (change < 0) s_.work = false;
  }
  ring(work);
}

u32 Channel::read_data(unsigned size) {
  bool work = false;
  u32 value = 0;
  {
    const std::scoped_lock lock(mutex_);
    if (s_.phase != Phase::kPioIn || (file().status & kDataRequest) == 0) return 0xffff'ffff;
    // Beyond the block's end: an odd count of bytes, of which the last word has one.
    for (unsigned n = 0; n < size && s_.position < s_.block_end; ++n)
      value |= u32{s_.buffer[s_.position++]} << (8 * n);
    if (s_.position == s_.block_end) block_done();
    work = s_.work;
  }
  ring(work);
  return value;
}

void Channel::write_data(unsigned size, u32 value) {
  bool work = false;
  {
    const std::scoped_lock lock(mutex_);
    const bool takes = s_.phase == Phase::kPioOut || s_.phase == Phase::kPacket;
    if (!takes || (file().status & kDataRequest) == 0) return;
    for (unsigned n = 0; n < size && s_.position < s_.block_end; ++n)
      s_.buffer[s_.position++] = static_cast<u8>(value >> (8 * n));
    if (s_.position == s_.block_end) block_done();
    work = s_.work;
  }
  ring(work);
}

// ---- Commands ----

void Channel::begin(u8 command) {
  TaskFile& f = file();
  const bool cdrom = drive().cdrom;
  if ((f.status & (kBusy | kDataRequest)) != 0 && !(cdrom && command == kDeviceReset)) return;
  commands_.add();
  s_.interrupt = false;
  update_line();
  s_.packet = false;
  f.error = 0;
  switch (command) {
    case kDeviceReset:
      if (!cdrom) return fail(kAborted);
      ++generation_;
      under_way_ = s_.work = false;
      s_.phase = Phase::kIdle;
      return set_signature(selected());  // without an interrupt
    case kDiagnose:
      s_.device = 0;
      for (unsigned n = 0; n < 2; ++n)
        if (present(n)) set_signature(n);
      return interrupt();
    case kPacket:
      if (!cdrom) return fail(kAborted);
      s_.packet = true;
      s_.phase = Phase::kPacket;
      s_.buffer.assign(kPacketSize, 0);
      s_.position = 0;
      s_.block_end = kPacketSize;
      f.count = kIsCommand;
      f.status = kReady | kDataRequest;
      return;
    case kIdentifyPacket:
      if (!cdrom) return fail(kAborted);
      return offer(identify_cdrom(), kSector);
    case kSetFeatures:  // transfer modes, caches: nothing to do
    case kIdleNow:
    case kStandbyNow:
    case kIdle:
    case kStandby:
    case kSleep:
      return finish();
    case kCheckPower:
      finish();
      f.count = 0xff;  // awake
      return;
    default:
      break;
  }
  if (cdrom) {
    // It tells that it is one.
    set_signature(selected());
    return fail(kAborted);
  }
  switch (command) {
    case kIdentify:
      return offer(identify_disk(sectors(), drive().serial, f.multiple), kSector);
    case kSetMultiple: {
      const u8 count = static_cast<u8>(f.count);
      if (count > kMaxMultiple || (count & (count - 1)) != 0) return fail(kAborted);
      f.multiple = count;
      return finish();
    }
    case kFlush:
    case kFlushExt:
      s_.phase = Phase::kFlush;
      f.status = kBusy;
      s_.work = true;
      return;
    case kReadNativeMax:
    case kReadNativeMaxExt: {
      const u64 last = command == kReadNativeMax ? std::min<u64>(sectors(), 0x0fff'ffff) - 1 : sectors() - 1;
      f.lba_low = static_cast<u16>((last & 0xff) | (last >> 24 & 0xff) << 8);
      f.lba_mid = static_cast<u16>((last >> 8 & 0xff) | (last >> 32 & 0xff) << 8);
      f.lba_high = static_cast<u16>((last >> 16 & 0xff) | (last >> 40 & 0xff) << 8);
      if (command == kReadNativeMax) s_.device = static_cast<u8>((s_.device & 0xf0) | (last >> 24 & 0x0f));
      return finish();
    }
    case kSetGeometry:
    case kSeek:
      return finish();
    default:
      if (command >> 4 == kRecalibrate >> 4) return finish();
      if (!begin_transfer(command)) fail(kAborted);
  }
}

// GUEST-CONTROLLED: the registers. False: the range is not on the disk.
bool Channel::ends_in_registers(u64& sector, u64& count, bool wide) {
  const TaskFile& f = file();
  if (wide) {
    const auto high_order = [](u16 reg) { return u64{static_cast<u8>(reg >> 8)}; };
    const auto low_order = [](u16 reg) { return u64{static_cast<u8>(reg)}; };
    sector = low_order(f.lba_low) | low_order(f.lba_mid) << 8 | low_order(f.lba_high) << 16 |
             high_order(f.lba_low) << 24 | high_order(f.lba_mid) << 32 | high_order(f.lba_high) << 40;
    count = f.count == 0 ? 0x10000 : f.count;
  } else {
    count = (f.count & 0xff) == 0 ? 0x100 : f.count & 0xff;
    const u64 low = f.lba_low & 0xff, mid = f.lba_mid & 0xff, high = f.lba_high & 0xff,
              top = s_.device & 0x0f;
    if ((s_.device & kLba) != 0) {
      sector = low | mid << 8 | high << 16 | top << 24;
    } else {
      const Geometry shape = Geometry::of(sectors());
      if (low == 0 || low > shape.sectors || top >= shape.heads) return false;
      sector = ((mid | high << 8) * shape.heads + top) * shape.sectors + low - 1;
    }
  }
  return sector <= sectors() && count <= sectors() - sector;
}

bool Channel::begin_transfer(u8 command) {
  const auto* const row = std::ranges::find(kTransfers, command, &TransferRow::command);
  if (row == std::end(kTransfers)) return false;
  TaskFile& f = file();
  if (row->multiple && f.multiple == 0) return false;
  const bool writes = row->phase == Phase::kPioOut || row->phase == Phase::kDmaOut;
  if (writes && drive().medium->read_only()) return false;
  u64 sector = 0, count = 0;
  if (!ends_in_registers(sector, count, row->wide)) {
    fail(kNoSector);
    return true;
  }
  if (row->phase == Phase::kIdle) {  // verify: what is there can be read
    finish();
    return true;
  }
  s_.phase = row->phase;
  s_.sector = sector;
  s_.left = count;
  s_.block = static_cast<u32>((row->multiple ? f.multiple : 1) * kSector);
  s_.buffer.clear();
  s_.position = s_.block_end = 0;
  f.status = kBusy;
  if (row->phase == Phase::kPioIn) s_.work = true;
  if (row->phase == Phase::kPioOut) next_block();
  // DMA waits for the bus master.
  if (!s_.work && row->phase != Phase::kPioOut) s_.work = s_.master.active();
  return true;
}

void Channel::begin_packet(const Packet& packet) {
  TaskFile& f = file();
  f.status = kBusy;
  PacketAction action = interpret(packet, sectors() * kSector / kCdSector, f.sense);
  if (packet[0] != 0x03) f.sense = {};
  finish_packet(action);
}

void Channel::finish_packet(const PacketAction& action) {
  TaskFile& f = file();
  const bool dma = (f.features & 1) != 0;
  // What a data request may have at most; even, so that words do not end between two.
  u32 limit = (f.lba_mid & 0xffu) | (f.lba_high & 0xffu) << 8;
  if (limit == 0 || limit == 0xffff) limit = 0xfffe;
  if (limit > 1) limit &= ~1u;
  switch (action.kind) {
    case PacketAction::Kind::kDone:
      return finish();
    case PacketAction::Kind::kFail:
      return fail_packet(action.sense);
    case PacketAction::Kind::kReply:
      s_.left = 0;
      if (action.reply.empty()) return finish();
      if (!dma) return offer(action.reply, limit);
      s_.phase = Phase::kDmaIn;
      s_.buffer = action.reply;
      s_.work = s_.master.active();
      return;
    case PacketAction::Kind::kRead:
      s_.phase = dma ? Phase::kDmaIn : Phase::kPioIn;
      s_.sector = action.sector * (kCdSector / kSector);
      s_.left = action.count * (kCdSector / kSector);
      s_.block = limit;
      s_.buffer.clear();
      s_.work = !dma || s_.master.active();
      return;
  }
}

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
  if (s_.phase == Phase::kFlush) {
    request.kind = DiskRequest::Kind::kFlush;
  } else if (in) {
    if (s_.phase == Phase::kDmaIn && !s_.buffer.empty()) {  // a packet's reply is there already
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

void Channel::quiesce() {
  for (Drive& d : drives_)
    if (d.medium) d.medium->finish_all();
}

void Channel::resume() {
  run();
}

ChannelState Channel::state() const {
  const std::scoped_lock lock(mutex_);
  return s_;
}

void Channel::stats(std::vector<StatRow>& rows) const {
  const auto row = [&](const char* what, const Counter& counter) {
    if (counter.get() != 0) rows.push_back({"device " + name_, what, counter.get(), 0});
  };
  row("commands", commands_);
  row("bytes read", read_bytes_);
  row("bytes written", written_bytes_);
  row("commands failed", failures_);
}

}  // namespace vellum::ide
