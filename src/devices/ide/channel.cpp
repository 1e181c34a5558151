// A channel's registers, interrupts and state.
#include "devices/ide/channel.hpp"

#include <algorithm>
#include <utility>

namespace vellum::ide {
namespace {

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
  for (TaskFile& f : s_.devices)
    if (f.tray.event > MediaEvent::kRemoval) f.tray.event = MediaEvent::kNone;
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
