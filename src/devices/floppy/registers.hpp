// The 82077AA's registers, commands and results (Intel 82077AA data sheet, §2.1, §5, §6).
#pragma once

#include "base/int.hpp"

namespace vellum::floppy {

// Offsets from port 0x3f2. 0x3f0 and 0x3f1 have registers in the PS/2 modes only; 0x3f6 is the IDE
// controller's.
enum Register : u8 { kDigitalOutput = 0, kTapeDrive = 1, kMainStatus = 2, kData = 3, kDigitalInput = 5 };
inline constexpr u8 kDataRate = kMainStatus, kConfigurationControl = kDigitalInput;  // as written

// Digital output: bits 1..0 the drive, 7..4 motors.
inline constexpr u8 kNotReset = 0x04, kGate = 0x08;
inline constexpr unsigned kMotorShift = 4;
// Main status.
inline constexpr u8 kRequest = 0x80, kToHost = 0x40, kNonDma = 0x20, kBusy = 0x10;
// Data rate select: bits 1..0 the rate, 4..2 precompensation.
inline constexpr u8 kSoftwareReset = 0x80, kRateMask = 0x03;
enum Rate : u8 { k500, k300, k250, k1000 };  ///< kbit/s
// Digital input.
inline constexpr u8 kDiskChange = 0x80;

// The first byte of a command: the upper bits of some.
inline constexpr u8 kMultiTrack = 0x80, kMfm = 0x40, kSkip = 0x20;
inline constexpr u8 kInward = 0x40;  ///< RELATIVE SEEK
inline constexpr u8 kLock = 0x80;
// The second.
inline constexpr u8 kHead = 0x04, kDriveMask = 0x03;
inline constexpr u8 kEnableCount = 0x80;  ///< VERIFY

enum Command : u8 {
  kReadTrack = 0x02,
  kSpecify = 0x03,
  kSenseDrive = 0x04,
  kWriteData = 0x05,
  kReadData = 0x06,
  kRecalibrate = 0x07,
  kSenseInterrupt = 0x08,
  kWriteDeleted = 0x09,
  kReadId = 0x0a,
  kReadDeleted = 0x0c,
  kFormatTrack = 0x0d,
  kDumpRegisters = 0x0e,
  kSeek = 0x0f,
  kVersion = 0x10,
  kPerpendicular = 0x12,
  kConfigure = 0x13,
  kLockCommand = 0x14,
  kVerify = 0x16,
  kRelativeSeek = 0x8f
};

// Status 0: bits 7..6 how the command ended, 2 the head, 1..0 the drive.
inline constexpr u8 kAbnormal = 0x40, kInvalid = 0x80, kPolled = 0xc0, kSeekEnd = 0x20,
                    kEquipmentCheck = 0x10;
// Status 1.
inline constexpr u8 kEndOfCylinder = 0x80, kDataError = 0x20, kOverrun = 0x10, kNoData = 0x04,
                    kNotWritable = 0x02, kNoAddressMark = 0x01;
// Status 2.
inline constexpr u8 kControlMark = 0x40, kDataErrorInData = 0x20, kWrongCylinder = 0x10;
// Status 3.
inline constexpr u8 kWriteProtected = 0x40, kTrack0 = 0x10, kAlwaysSet = 0x28;

// CONFIGURE's second byte: bits 3..0 the FIFO's threshold.
inline constexpr u8 kImpliedSeek = 0x40, kNoFifo = 0x20, kNoPolling = 0x10, kThreshold = 0x0f;
// PERPENDICULAR MODE.
inline constexpr u8 kOverwrite = 0x80, kDriveBits = 0x3c, kGapAndGate = 0x03;

inline constexpr u8 kVersionNumber = 0x90;  ///< an enhanced controller
inline constexpr u8 kSizeCode = 2;          ///< N: 128 << N bytes a sector
inline constexpr u64 kSector = 512;
inline constexpr unsigned kCommandBytes = 9, kResultBytes = 10;  ///< the longest

}  // namespace vellum::floppy
