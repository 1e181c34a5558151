// An ATA device's registers and commands (ATA/ATAPI-6, T13/1410D), those of PIIX3's bus master (82371SB
// §2.7).
#pragma once

#include "base/int.hpp"

namespace vellum::ide {

// Offsets in the command block.
enum Register : u8 { kData, kError, kCount, kLbaLow, kLbaMid, kLbaHigh, kDevice, kStatus };
inline constexpr u8 kFeatures = kError, kCommand = kStatus;  // as written

inline constexpr u8 kBusy = 0x80, kReady = 0x40, kSeekDone = 0x10, kDataRequest = 0x08, kFailed = 0x01;
inline constexpr u8 kAborted = 0x04, kNoSector = 0x10, kUncorrectable = 0x40;    // error
inline constexpr u8 kSecondDevice = 0x10, kLba = 0x40;                           // device
inline constexpr u8 kNoInterrupts = 0x02, kSoftReset = 0x04, kHighOrder = 0x80;  // device control
inline constexpr u8 kIsCommand = 0x01, kToHost = 0x02;  // a packet's interrupt reason, in the count register

enum Command : u8 {
  kNop = 0x00,
  kDeviceReset = 0x08,
  kRecalibrate = 0x10,
  kReadSectors = 0x20,
  kReadSectorsOnce = 0x21,
  kReadSectorsExt = 0x24,
  kReadDmaExt = 0x25,
  kReadNativeMaxExt = 0x27,
  kReadMultipleExt = 0x29,
  kWriteSectors = 0x30,
  kWriteSectorsOnce = 0x31,
  kWriteSectorsExt = 0x34,
  kWriteDmaExt = 0x35,
  kWriteMultipleExt = 0x39,
  kVerify = 0x40,
  kVerifyOnce = 0x41,
  kVerifyExt = 0x42,
  kSeek = 0x70,
  kDiagnose = 0x90,
  kSetGeometry = 0x91,
  kPacket = 0xa0,
  kIdentifyPacket = 0xa1,
  kReadMultiple = 0xc4,
  kWriteMultiple = 0xc5,
  kSetMultiple = 0xc6,
  kReadDma = 0xc8,
  kReadDmaOnce = 0xc9,
  kWriteDma = 0xca,
  kWriteDmaOnce = 0xcb,
  kStandbyNow = 0xe0,
  kIdleNow = 0xe1,
  kStandby = 0xe2,
  kIdle = 0xe3,
  kCheckPower = 0xe5,
  kSleep = 0xe6,
  kFlush = 0xe7,
  kFlushExt = 0xea,
  kIdentify = 0xec,
  kSetFeatures = 0xef,
  kReadNativeMax = 0xf8
};

// Bus master: command and status.
inline constexpr u8 kStart = 0x01, kToMemory = 0x08;
inline constexpr u8 kActive = 0x01, kMasterError = 0x02, kMasterInterrupt = 0x04, kCapable = 0x60;

inline constexpr u64 kSector = 512, kCdSector = 2048;
/// What a drive has between itself and its medium.
inline constexpr u64 kBufferSize = u64{128} << 10;
inline constexpr unsigned kMaxMultiple = 16;

}  // namespace vellum::ide
