// Registers and descriptors of an Intel 82540EM (PCI/PCI-X Family of Gigabit Ethernet Controllers Software
// Developer's Manual, "SDM" in this folder: ch. 3 and 13). Offsets in bytes from BAR 0.
#pragma once

#include "base/int.hpp"

namespace vellum::e1000 {

// General (§13.4.1 to §13.4.14).
inline constexpr u32 kCtrl = 0x0000, kCtrlCopy = 0x0004, kStatus = 0x0008, kEecd = 0x0010, kEerd = 0x0014,
                     kCtrlExt = 0x0018, kMdic = 0x0020, kFcal = 0x0028, kFcah = 0x002c, kFct = 0x0030,
                     kVet = 0x0038, kFcttv = 0x0170, kTxcw = 0x0178, kLedctl = 0x0e00, kPba = 0x1000,
                     kFcrtl = 0x2160, kFcrth = 0x2168;
// Interrupts (§13.4.17 to §13.4.21).
inline constexpr u32 kIcr = 0x00c0, kItr = 0x00c4, kIcs = 0x00c8, kIms = 0x00d0, kImc = 0x00d8;
// Receive.
inline constexpr u32 kRctl = 0x0100, kRdbal = 0x2800, kRdtr = 0x2820, kRxdctl = 0x2828, kRadv = 0x282c,
                     kRsrpd = 0x2c00, kRxcsum = 0x5000, kMta = 0x5200, kRal = 0x5400, kVfta = 0x5600;
// Transmit.
inline constexpr u32 kTctl = 0x0400, kTipg = 0x0410, kAit = 0x0458, kTxdmac = 0x3000, kTdbal = 0x3800,
                     kTidv = 0x3820, kTxdctl = 0x3828, kTadv = 0x382c, kTspmt = 0x3830;
// A ring's registers, from its base address on.
inline constexpr u32 kRingBaseHigh = 0x04, kRingLength = 0x08, kRingHead = 0x10, kRingTail = 0x18;
inline constexpr u32 kRdh = kRdbal + kRingHead, kRdt = kRdbal + kRingTail, kTdh = kTdbal + kRingHead,
                     kTdt = kTdbal + kRingTail;
// Waking up: kept, without effect.
inline constexpr u32 kWuc = 0x5800, kWufc = 0x5808, kWus = 0x5810, kManc = 0x5820, kIpav = 0x5838,
                     kIp4at = 0x5840, kIp6at = 0x5880, kWupl = 0x5900;
// Statistics (§13.7).
inline constexpr u32 kStatistics = 0x4000, kStatisticsEnd = 0x4100;
inline constexpr u32 kMpc = 0x4010, kPrc64 = 0x405c, kGprc = 0x4074, kBprc = 0x4078, kMprc = 0x407c,
                     kGptc = 0x4080, kGorcl = 0x4088, kGotcl = 0x4090, kRnbc = 0x40a0, kRoc = 0x40ac,
                     kTorl = 0x40c0, kTotl = 0x40c8, kTpr = 0x40d0, kTpt = 0x40d4, kPtc64 = 0x40d8,
                     kMptc = 0x40f0, kBptc = 0x40f4, kTsctc = 0x40f8, kTsctfc = 0x40fc;

inline constexpr u32 kRegistersEnd = 0x6000, kMemorySize = 0x20000;

// CTRL.
inline constexpr u32 kFullDuplex = 1 << 0, kSetLinkUp = 1 << 6, kSpeed1000 = 2 << 8, kReset = 1 << 26,
                     kVlanMode = 1 << 30, kPhyReset = u32{1} << 31;
// STATUS.
inline constexpr u32 kStatusLinkUp = 1 << 1, kStatusSpeed1000 = 2 << 6, kStatusDetected1000 = 2 << 8;
// EERD and MDIC.
inline constexpr u32 kEerdStart = 1 << 0, kEerdDone = 1 << 4;
inline constexpr u32 kMdicWrite = 1 << 26, kMdicRead = 2 << 26, kMdicReady = 1 << 28,
                     kMdicInterrupt = 1 << 29, kMdicError = 1 << 30;
// Causes of interrupts. Reserved ones can be set by software, too (Linux's self-test does).
inline constexpr u32 kTxDescriptorWritten = 1 << 0, kTxQueueEmpty = 1 << 1, kLinkChange = 1 << 2,
                     kRxThreshold = 1 << 4, kRxOverrun = 1 << 6, kRxTimer = 1 << 7, kMdioDone = 1 << 9,
                     kTxDescriptorsLow = 1 << 15, kAllCauses = 0x0001'ffff;
// RCTL.
inline constexpr u32 kRxEnable = 1 << 1, kUnicastAll = 1 << 3, kMulticastAll = 1 << 4, kLongPackets = 1 << 5,
                     kLoopbackMask = 3 << 6, kBroadcasts = 1 << 15, kVlanFilter = 1 << 18,
                     kCfiEnable = 1 << 19, kCfi = 1 << 20, kBufferExtension = 1 << 25, kStripCrc = 1 << 26;
// TCTL.
inline constexpr u32 kTxEnable = 1 << 1, kPadShort = 1 << 3;
// RXCSUM.
inline constexpr u32 kIpChecksums = 1 << 8, kTransportChecksums = 1 << 9;
// RAH.
inline constexpr u32 kAddressValid = u32{1} << 31;

// A descriptor of either ring: 16 bytes; rings are a multiple of 8 of them.
inline constexpr u32 kDescriptorSize = 16;

// A transmit descriptor's command byte; kChecksum is a legacy one's, kSegmentation an extended one's.
inline constexpr u8 kEndOfPacket = 1 << 0, kInsertFcs = 1 << 1, kChecksum = 1 << 2, kSegmentation = 1 << 2,
                    kReportStatus = 1 << 3, kExtended = 1 << 5, kVlanTag = 1 << 6;
// A context descriptor's, besides.
inline constexpr u8 kContextTcp = 1 << 0, kContextIpv4 = 1 << 1;
// A data descriptor's packet options.
inline constexpr u8 kInsertIp = 1 << 0, kInsertTransport = 1 << 1;
inline constexpr u8 kDone = 1 << 0;  // of either ring's descriptors

// A receive descriptor's status, and errors.
inline constexpr u8 kRxEndOfPacket = 1 << 1, kIgnoreChecksums = 1 << 2, kRxVlan = 1 << 3,
                    kTransportChecked = 1 << 5, kIpChecked = 1 << 6, kPassedInexact = 1 << 7;
inline constexpr u8 kTransportError = 1 << 5, kIpError = 1 << 6;

inline constexpr u64 kFcsSize = 4, kVlanTagSize = 4, kMinWireFrame = 60;

}  // namespace vellum::e1000
