// Register names and the bits of control registers, RFLAGS and EFER (SDM vol. 1 ch. 3, vol. 3A §2.3-2.5).
#pragma once

#include "base/bits.hpp"

namespace vellum::x86 {

// clang-format off
enum Gpr : u8 { kRax, kRcx, kRdx, kRbx, kRsp, kRbp, kRsi, kRdi, kR8, kR9, kR10, kR11, kR12, kR13, kR14, kR15 };
// clang-format on

enum class Seg : u8 { kEs, kCs, kSs, kDs, kFs, kGs };  // the encoding of mov Sreg
inline constexpr unsigned kSegCount = 6;

namespace rflags {
inline constexpr u64 kCf = bit(0), kFixed1 = bit(1), kPf = bit(2), kAf = bit(4), kZf = bit(6), kSf = bit(7),
                     kTf = bit(8), kIf = bit(9), kDf = bit(10), kOf = bit(11), kIopl = bit(12) | bit(13),
                     kNt = bit(14), kRf = bit(16), kVm = bit(17), kAc = bit(18), kVif = bit(19),
                     kVip = bit(20), kId = bit(21);
inline constexpr u64 kArithmetic = kCf | kPf | kAf | kZf | kSf | kOf;
/// Every bit that can be 1.
inline constexpr u64 kAll =
    kArithmetic | kFixed1 | kTf | kIf | kDf | kIopl | kNt | kRf | kVm | kAc | kVif | kVip | kId;
}  // namespace rflags

namespace cr0 {
inline constexpr u64 kPe = bit(0), kMp = bit(1), kEm = bit(2), kTs = bit(3), kEt = bit(4), kNe = bit(5),
                     kWp = bit(16), kAm = bit(18), kNw = bit(29), kCd = bit(30), kPg = bit(31);
}

namespace cr4 {
inline constexpr u64 kVme = bit(0), kPvi = bit(1), kTsd = bit(2), kDe = bit(3), kPse = bit(4), kPae = bit(5),
                     kMce = bit(6), kPge = bit(7), kPce = bit(8), kOsfxsr = bit(9), kOsxmmexcpt = bit(10),
                     kUmip = bit(11), kLa57 = bit(12), kFsgsbase = bit(16), kPcide = bit(17),
                     kOsxsave = bit(18), kSmep = bit(20), kSmap = bit(21);
}

namespace efer {
inline constexpr u64 kSce = bit(0), kLme = bit(8), kLma = bit(10), kNxe = bit(11), kFfxsr = bit(14);
}

namespace dr6 {
inline constexpr u64 kBd = bit(13), kBs = bit(14), kBt = bit(15);
inline constexpr u64 kFixed1 = 0xffff0ff0;
}  // namespace dr6

namespace dr7 {
inline constexpr u64 kGd = bit(13);
inline constexpr u64 kFixed1 = bit(10);
inline constexpr u64 kEnableMask = 0xff;  // L0 G0 … L3 G3
}  // namespace dr7

namespace xcr0 {
inline constexpr u64 kX87 = bit(0), kSse = bit(1), kAvx = bit(2);
}

/// Canonical in 48-bit linear addresses: bits 63..47 all equal.
constexpr bool is_canonical(u64 address) {
  return static_cast<u64>(static_cast<i64>(address << 16) >> 16) == address;
}

}  // namespace vellum::x86
