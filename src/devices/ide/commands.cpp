// A channel's commands: what a write to the command register begins, or a packet.
#include <algorithm>

#include "devices/ide/channel.hpp"
#include "devices/ide/identify.hpp"

namespace vellum::ide {
namespace {

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

}  // namespace

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
  PacketAction action = interpret(packet, sectors() * kSector / kCdSector, f.sense, f.tray);
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

}  // namespace vellum::ide
