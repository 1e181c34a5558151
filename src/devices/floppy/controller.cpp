// The controller's registers, interrupts, resets and state.
#include "devices/floppy/controller.hpp"

#include <algorithm>
#include <utility>

#include "base/assert.hpp"

namespace vellum::floppy {

Controller::Controller(const IoContext& context, Media media, InterruptLine& line, IsaDma& dma,
                       const State& state)
    : context_(context),
      media_(std::move(media)),
      line_(line),
      dma_(dma),
      s_(state),
      doorbells_(context, [this](unsigned) { run(); }) {
  for (unsigned n = 0; n < kDrives; ++n) {
    if (!media_[n]) continue;
    formats_[n] = format_of(media_[n]->size());
    VELLUM_ASSERT(formats_[n] != nullptr, "a floppy disk of {} bytes", media_[n]->size());
  }
  sanitise();
  dma_.connect(kDmaChannel, this);
  update_line();
}

Controller::~Controller() {
  dma_.connect(kDmaChannel, nullptr);
  for (const auto& medium : media_)
    if (medium) medium->finish_all();
}

// A damaged state: what it indexes must be there, and what is executed must be able to end.
void Controller::sanitise() {
  s_.rate &= kRateMask;
  s_.tape &= 3;
  s_.config &= kImpliedSeek | kNoFifo | kNoPolling | kThreshold;
  s_.perpendicular &= kDriveBits | kGapAndGate;
  s_.polled &= 0x0f, s_.sought &= 0x0f;
  if (s_.phase == Phase::kExecution && opcode() == kVerify) s_.left = std::clamp<u16>(s_.left, 1, 256);
  for (DriveState& drive : s_.drives) {
    drive.cylinder = std::min(drive.cylinder, kLastCylinder);
    drive.passing %= kMaxSectors;
  }
  if (phase_is_sane()) return;
  no_result();
  s_.work = s_.interrupt = false;
  s_.buffer.clear();
}

bool Controller::phase_is_sane() const {
  switch (s_.phase) {
    case Phase::kCommand:
      return s_.position == 0 || (s_.count == command_length(s_.fifo[0]) && s_.position < s_.count);
    case Phase::kResult:
      return s_.count <= kResultBytes && s_.position < s_.count;
    case Phase::kExecution:
      return execution_is_sane();
  }
  return false;
}

bool Controller::execution_is_sane() const {
  const auto size = s_.buffer.size();
  if (s_.step > Step::kEnd || !moves_data(opcode())) return false;
  const Format* const f = format();
  const bool writable = f != nullptr && !media_[selected()]->read_only();
  if (s_.dirty && !writable) return false;
  if (s_.step == Step::kSearch || s_.step == Step::kEnd) return true;
  if (writes() && !writable) return false;
  if (f == nullptr || drive().cylinder >= f->tracks) return false;
  const bool there = s_.id.r != 0 && s_.run != 0 && s_.id.r - 1 + s_.run <= f->sectors;
  if (!there || s_.moved > size) return false;
  if (s_.step == Step::kRead) return !writes();
  if (s_.step == Step::kWrite && !writes()) return false;
  if (opcode() != kFormatTrack) return size == s_.run * kSector && (writes() || opcode() != kVerify);
  if (s_.id.r != 1 || s_.run != f->sectors) return false;
  return size == (s_.step == Step::kHost ? 4u * s_.run : s_.run * kSector);
}

// ---- Interrupts, resets ----

void Controller::update_line() {
  line_.set(s_.interrupt && (s_.output & kGate) != 0);
}

void Controller::interrupt() {
  s_.interrupt = true;
  update_line();
}

// What reset does by either register (data sheet §6.2): parameters of SPECIFY and the drives' are left alone.
void Controller::reset() {
  ++generation_;
  under_way_ = false;
  dma_.request(kDmaChannel, false);
  s_.phase = Phase::kCommand;
  s_.position = s_.count = 0;
  s_.work = s_.interrupt = false;
  s_.polled = s_.sought = 0;
  s_.buffer.clear();
  s_.moved = 0;
  s_.present_cylinder = {};
  s_.perpendicular &= static_cast<u8>(~kGapAndGate);
  if (s_.locked) {
    s_.config &= kNoFifo | kThreshold;
  } else {
    s_.config = kNoFifo;
    s_.precompensation = 0;
  }
  update_line();
}

// Polling finds that every drive has become ready.
void Controller::leave_reset() {
  s_.polled = 0x0f;
  interrupt();
}

// ---- Registers ----

u8 Controller::main_status() const {
  if ((s_.output & kNotReset) == 0) return 0;
  switch (s_.phase) {
    case Phase::kCommand:
      return kRequest | (s_.position != 0 ? kBusy : 0);
    case Phase::kResult:
      return kRequest | kToHost | kBusy;
    case Phase::kExecution:
      break;
  }
  if (!by_fifo()) return kBusy;
  const bool waits = s_.step == Step::kHost && s_.moved < s_.buffer.size();
  if (!waits) return kBusy | kNonDma;
  return kRequest | kNonDma | kBusy | (writes() ? 0 : kToHost);
}

// The lower bits are the hard disk controller's on an AT; there is none here that has them.
u8 Controller::digital_input() const {
  const unsigned n = s_.output & kDriveMask;
  const bool changed = n < kDrives && formats_[n] != nullptr && s_.drives[n].changed;
  return 0x7f | (changed ? kDiskChange : 0);
}

void Controller::write_output(u8 value) {
  const u8 before = std::exchange(s_.output, value);
  const bool was_reset = (before & kNotReset) == 0, is_reset = (value & kNotReset) == 0;
  if (is_reset && !was_reset) reset();
  if (!is_reset && was_reset) leave_reset();
  if (((before ^ value) & kGate) != 0 && s_.phase == Phase::kExecution)
    s_.work = true;  // DMA passes the gate
  update_line();
}

u8 Controller::read_register(u64 offset) {
  switch (offset) {
    case kDigitalOutput:
      return s_.output;
    case kTapeDrive:
      return 0xfc | s_.tape;
    case kMainStatus:
      return main_status();
    case kData:
      return read_data();
    case kDigitalInput:
      return digital_input();
    default:
      return 0xff;
  }
}

void Controller::write_register(u64 offset, u8 value) {
  switch (offset) {
    case kDigitalOutput:
      return write_output(value);
    case kTapeDrive:
      s_.tape = value & 3;
      return;
    case kDataRate:
      s_.rate = value & kRateMask;
      if ((value & kSoftwareReset) != 0 && (s_.output & kNotReset) != 0) {  // clears itself
        reset();
        leave_reset();
      }
      return;
    case kData:
      return write_data(value);
    case kConfigurationControl:
      s_.rate = value & kRateMask;
      return;
    default:
      return;
  }
}

u8 Controller::read_data() {
  if ((main_status() & (kRequest | kToHost)) != (kRequest | kToHost)) return 0;
  s_.interrupt = s_.phase == Phase::kExecution;
  if (s_.phase == Phase::kExecution) {
    const u8 value = s_.buffer[s_.moved++];
    if (s_.moved == s_.buffer.size()) {
      s_.interrupt = false;
      s_.work = true;
    }
    update_line();
    return value;
  }
  const u8 value = s_.fifo[s_.position++];
  if (s_.position == s_.count) no_result();
  s_.interrupt = s_.interrupt || (s_.phase == Phase::kCommand && s_.sought != 0);
  update_line();
  return value;
}

void Controller::write_data(u8 value) {
  if ((main_status() & (kRequest | kToHost)) != kRequest) return;
  if (s_.phase == Phase::kExecution) {
    s_.buffer[s_.moved++] = value;
    if (s_.moved == s_.buffer.size()) {
      s_.interrupt = false;
      s_.work = true;
      update_line();
    }
    return;
  }
  if (s_.position == 0) s_.count = command_length(value);
  s_.fifo[s_.position++] = value;
  if (s_.position == s_.count) execute();
}

u64 Controller::read(u64 offset, unsigned size) {
  u64 value = 0;
  bool work = false;
  {
    const std::scoped_lock lock(mutex_);
    for (unsigned n = 0; n < size; ++n) value |= u64{read_register(offset + n)} << (8 * n);
    work = s_.work;
  }
  if (work) doorbells_.ring(0);
  return value;
}

void Controller::write(u64 offset, unsigned size, u64 value) {
  bool work = false;
  {
    const std::scoped_lock lock(mutex_);
    for (unsigned n = 0; n < size; ++n) write_register(offset + n, static_cast<u8>(value >> (8 * n)));
    work = s_.work;
  }
  if (work) doorbells_.ring(0);
}

// ---- The machine ----

void Controller::dma_opened() {
  {
    const std::scoped_lock lock(mutex_);
    s_.work = true;
  }
  doorbells_.ring(0);
}

void Controller::quiesce() {
  for (const auto& medium : media_)
    if (medium) medium->finish_all();
}

void Controller::resume() {
  run();
}

SavedState Controller::save() const {
  const std::scoped_lock lock(mutex_);
  return encode_state(s_);
}

void Controller::stats(std::vector<StatRow>& rows) const {
  const auto row = [&](const char* what, const Counter& counter) {
    if (counter.get() != 0) rows.push_back({"device floppy", what, counter.get(), 0});
  };
  row("commands", commands_);
  row("bytes read", read_bytes_);
  row("bytes written", written_bytes_);
  row("commands failed", failures_);
}

}  // namespace vellum::floppy
