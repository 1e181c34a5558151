// The local APIC's register map (SDM vol. 3A tables 11-1 and 11-6). A register is one row: its index is bits
// 9:4 of the xAPIC page offset, and the low bits of the x2APIC MSR (0x800 + index).
#pragma once

#include <array>

#include "base/bits.hpp"

namespace vellum::apic {

enum Register : u8 {
  kId = 0x02,
  kVersion = 0x03,
  kTpr = 0x08,
  kPpr = 0x0a,
  kEoi = 0x0b,
  kLdr = 0x0d,
  kDfr = 0x0e,
  kSvr = 0x0f,
  kIsr = 0x10,  // eight registers each
  kTmr = 0x18,
  kIrr = 0x20,
  kEsr = 0x28,
  kIcrLow = 0x30,
  kIcrHigh = 0x31,
  kLvtTimer = 0x32,
  kLvtThermal = 0x33,
  kLvtPmc = 0x34,
  kLvtLint0 = 0x35,
  kLvtLint1 = 0x36,
  kLvtError = 0x37,
  kInitialCount = 0x38,
  kCurrentCount = 0x39,
  kDivide = 0x3e,
  kSelfIpi = 0x3f,
  kRegisterCount = 0x40,
};
inline constexpr unsigned kLvtCount = 6;

enum Access : u8 { kNone = 0, kRead = 1, kWrite = 2, kReadWrite = 3 };

struct RegisterInfo {
  Access xapic = kNone;
  Access x2apic = kNone;
  u32 writable = 0;   ///< bits that a write may set; in x2APIC mode any other set bit is #GP(0)
  u32 read_only = 0;  ///< defined bits that a write can't change, and that don't fault
};

namespace lvt {
inline constexpr u32 kVector = 0xff, kModeShift = 8, kMode = 7u << 8, kDeliveryStatus = 1u << 12,
                     kPolarity = 1u << 13, kRemoteIrr = 1u << 14, kLevel = 1u << 15, kMasked = 1u << 16,
                     kTimerModeShift = 17, kTimerMode = 3u << 17;
}
namespace svr {
inline constexpr u32 kEnable = 1u << 8, kFocusDisabled = 1u << 9;
}
namespace icr {
inline constexpr u32 kVector = 0xff, kModeShift = 8, kMode = 7u << 8, kLogical = 1u << 11, kBusy = 1u << 12,
                     kAssert = 1u << 14, kLevel = 1u << 15, kShorthandShift = 18, kShorthand = 3u << 18;
inline constexpr u32 kValid = kVector | kMode | kLogical | kAssert | kLevel | kShorthand;
enum Shorthand : u8 { kNoShorthand, kSelf, kAll, kOthers };
}  // namespace icr
namespace esr {
inline constexpr u32 kSendIllegalVector = 1u << 5, kReceiveIllegalVector = 1u << 6,
                     kIllegalRegister = 1u << 7;
}
namespace base_msr {
inline constexpr u64 kBsp = bit(8), kX2apic = bit(10), kEnable = bit(11), kDefaultAddress = 0xfee0'0000;
}

/// Version 0x14 (integrated), LVT entries 0 to 5, no EOI-broadcast suppression.
inline constexpr u32 kVersionValue = 0x14 | (kLvtCount - 1) << 16;

constexpr std::array<RegisterInfo, kRegisterCount> make_register_table() {
  using namespace lvt;
  std::array<RegisterInfo, kRegisterCount> t{};
  t[kId] = {kRead, kRead, 0, 0};  // on this model software can't change the id (§11.4.6)
  t[kVersion] = {kRead, kRead, 0, 0};
  t[kTpr] = {kReadWrite, kReadWrite, 0xff, 0};
  t[kPpr] = {kRead, kRead, 0, 0};
  t[kEoi] = {kWrite, kWrite, 0, 0};
  t[kLdr] = {kReadWrite, kRead, 0xff00'0000, 0};
  t[kDfr] = {kReadWrite, kNone, 0xf000'0000, 0x0fff'ffff};
  t[kSvr] = {kReadWrite, kReadWrite, kVector | svr::kEnable | svr::kFocusDisabled, 0};
  for (unsigned i = 0; i < 24; ++i) t[kIsr + i] = {kRead, kRead, 0, 0};
  t[kEsr] = {kReadWrite, kReadWrite, 0, 0};
  t[kIcrLow] = {kReadWrite, kReadWrite, icr::kValid, 0};
  t[kIcrHigh] = {kReadWrite, kNone, 0xff00'0000, 0};
  t[kLvtTimer] = {kReadWrite, kReadWrite, kVector | kMasked | kTimerMode, kDeliveryStatus};
  t[kLvtThermal] = {kReadWrite, kReadWrite, kVector | kMode | kMasked, kDeliveryStatus};
  t[kLvtPmc] = t[kLvtThermal];
  t[kLvtLint0] = {kReadWrite, kReadWrite, kVector | kMode | kPolarity | kLevel | kMasked,
                  kDeliveryStatus | kRemoteIrr};
  t[kLvtLint1] = t[kLvtLint0];
  t[kLvtError] = {kReadWrite, kReadWrite, kVector | kMasked, kDeliveryStatus};
  t[kInitialCount] = {kReadWrite, kReadWrite, ~0u, 0};
  t[kCurrentCount] = {kRead, kRead, 0, 0};
  t[kDivide] = {kReadWrite, kReadWrite, 0b1011, 0};
  t[kSelfIpi] = {kNone, kWrite, kVector, 0};
  return t;
}
inline constexpr std::array<RegisterInfo, kRegisterCount> kRegisters = make_register_table();

}  // namespace vellum::apic
