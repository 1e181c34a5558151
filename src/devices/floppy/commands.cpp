// The controller's commands (data sheet §5): their lengths, and those that move no data.
#include "devices/floppy/commands.hpp"

#include <algorithm>
#include <bit>

#include "devices/floppy/controller.hpp"

namespace vellum::floppy {
namespace {

struct CommandRow {
  u8 mask, value;  ///< of the first byte
  u8 length;       ///< bytes, the first included
};
// SCAN EQUAL, LOW and HIGH are not there.
constexpr CommandRow kCommands[] = {
    {0x1f, kReadData, 9},      {0x1f, kReadDeleted, 9},    {0x1f, kWriteData, 9},    {0x1f, kWriteDeleted, 9},
    {0xbf, kReadTrack, 9},     {0x1f, kVerify, 9},         {0xbf, kFormatTrack, 6},  {0xbf, kReadId, 2},
    {0xff, kRecalibrate, 2},   {0xff, kSenseInterrupt, 1}, {0xff, kSpecify, 3},      {0xff, kSenseDrive, 2},
    {0xff, kConfigure, 4},     {0xff, kSeek, 3},           {0xbf, kRelativeSeek, 3}, {0xff, kVersion, 1},
    {0xff, kDumpRegisters, 1}, {0xff, kPerpendicular, 2},  {0x7f, kLockCommand, 1},
};

const CommandRow* find_command(u8 first) {
  const auto* const row =
      std::ranges::find_if(kCommands, [first](const CommandRow& r) { return (first & r.mask) == r.value; });
  return row != std::end(kCommands) ? row : nullptr;
}

}  // namespace

u8 command_length(u8 first) {
  const CommandRow* const row = find_command(first);
  return row != nullptr ? row->length : 1;
}

u8 command_of(u8 first) {
  const CommandRow* const row = find_command(first);
  return row != nullptr ? row->value : 0;
}

bool moves_data(u8 command) {
  constexpr u8 kAll[] = {kReadData,  kReadDeleted, kWriteData,  kWriteDeleted,
                         kReadTrack, kVerify,      kFormatTrack};
  return std::ranges::find(kAll, command) != std::end(kAll);
}

void Controller::result(std::initializer_list<u8> bytes) {
  std::ranges::copy(bytes, s_.fifo.begin());
  s_.phase = Phase::kResult;
  s_.position = 0;
  s_.count = static_cast<u8>(bytes.size());
}

void Controller::no_result() {
  s_.phase = Phase::kCommand;
  s_.position = s_.count = 0;
}

// GUEST-CONTROLLED: the command's bytes.
void Controller::execute() {
  commands_.add();
  s_.command = s_.fifo[0];
  s_.unit = s_.fifo[1];
  const u8 first = s_.fifo[1], second = s_.fifo[2];
  switch (opcode()) {
    case kSpecify:
      s_.specified = {first, second};
      return no_result();
    case kSenseDrive: {
      const Format* const f = format();
      u8 status = kAlwaysSet | unit_status();
      if (f != nullptr && drive().cylinder == 0) status |= kTrack0;
      if (f != nullptr && media_[selected()]->read_only()) status |= kWriteProtected;
      return result({status});
    }
    case kSenseInterrupt:
      return sense_interrupt();
    case kConfigure:
      s_.config = second & (kImpliedSeek | kNoFifo | kNoPolling | kThreshold);
      s_.precompensation = s_.fifo[3];
      return no_result();
    case kVersion:
      return result({kVersionNumber});
    case kDumpRegisters:
      return dump_registers();
    case kPerpendicular: {
      const u8 changes = (first & kOverwrite) != 0 ? kDriveBits | kGapAndGate : kGapAndGate;
      s_.perpendicular = static_cast<u8>((s_.perpendicular & ~changes) | (first & changes));
      return no_result();
    }
    case kLockCommand:
      s_.locked = (s_.command & kLock) != 0;
      return result({static_cast<u8>(s_.locked ? 0x10 : 0)});
    case kSeek:
      seek_to(second);
      return seek_ended(kSeekEnd | unit_status());
    case kRelativeSeek: {
      const u8 from = s_.present_cylinder[s_.unit & kDriveMask];
      const int tracks = (s_.command & kInward) != 0 ? second : -int{second};
      step_heads(tracks);
      s_.present_cylinder[s_.unit & kDriveMask] = static_cast<u8>(from + tracks);
      return seek_ended(kSeekEnd | unit_status());
    }
    case kRecalibrate:
      return recalibrate();
    case kReadId:
      return read_id();
    default:
      if (moves_data(opcode())) return begin_data();
      return result({kInvalid});
  }
}

// One of what waits; a seek's first, as its interrupt is the newer one.
void Controller::sense_interrupt() {
  s_.interrupt = false;
  u8& waiting = s_.sought != 0 ? s_.sought : s_.polled;
  if (waiting == 0) {
    result({kInvalid});
    return update_line();
  }
  const unsigned n = static_cast<unsigned>(std::countr_zero(waiting));
  const u8 status = s_.sought != 0 ? s_.seek_status[n] : static_cast<u8>(kPolled | n);
  waiting &= static_cast<u8>(waiting - 1);
  result({status, s_.present_cylinder[n]});
  update_line();
}

void Controller::dump_registers() {
  const auto& at = s_.present_cylinder;
  result({at[0], at[1], at[2], at[3], s_.specified[0], s_.specified[1], s_.last_sector,
          static_cast<u8>((s_.locked ? kLock : 0) | s_.perpendicular), s_.config, s_.precompensation});
}

// ---- Seeks ----

void Controller::step_heads(int tracks) {
  if (format() == nullptr || tracks == 0) return;
  drive().cylinder = static_cast<u8>(std::clamp(drive().cylinder + tracks, 0, int{kLastCylinder}));
  drive().changed = false;
}

void Controller::seek_ended(u8 status) {
  const unsigned n = s_.unit & kDriveMask;
  s_.sought |= static_cast<u8>(1 << n);
  s_.seek_status[n] = status;
  no_result();
  interrupt();
}

void Controller::seek_to(u8 cylinder) {
  u8& present = s_.present_cylinder[s_.unit & kDriveMask];
  step_heads(int{cylinder} - present);
  present = cylinder;
}

// Outwards until the drive says that it is at track 0, 79 steps at most.
void Controller::recalibrate() {
  constexpr int kSteps = 79;
  if (format() != nullptr) step_heads(-std::min<int>(kSteps, drive().cylinder));
  s_.present_cylinder[s_.unit & kDriveMask] = 0;
  s_.unit &= kDriveMask;
  const bool there = format() != nullptr && drive().cylinder == 0;
  seek_ended(static_cast<u8>((there ? kSeekEnd : kAbnormal | kSeekEnd | kEquipmentCheck) | unit_status()));
}

// ---- What is under the head ----

// Whether there are sectors: a disk that turns, formatted there, read as it was written.
bool Controller::readable() const {
  const Format* const f = format();
  if (f == nullptr || (s_.output >> (kMotorShift + selected()) & 1) == 0) return false;
  return drive().cylinder < f->tracks && f->rate == s_.rate && (s_.command & kMfm) != 0;
}

// The next sector that comes by.
void Controller::read_id() {
  if (!readable()) {
    failures_.add();
    result({static_cast<u8>(kAbnormal | unit_status()), kNoAddressMark, 0, 0, 0, 0, 0});
    return interrupt();
  }
  DriveState& d = drive();
  const u8 record = static_cast<u8>(d.passing % format()->sectors + 1);
  d.passing = record % format()->sectors;
  result({unit_status(), 0, 0, d.cylinder, static_cast<u8>(head() ? 1 : 0), record, kSizeCode});
  interrupt();
}

}  // namespace vellum::floppy
