// Numbers and bits of model-specific registers (SDM vol. 4; AMD64 APM vol. 2 appendix A for AMD's). Which of
// them a vCPU has and what reading and writing does is the table in cpu/system/msr.cpp.
#pragma once

#include "base/bits.hpp"

namespace vellum::x86::msr {

inline constexpr u32 kTsc = 0x10, kPlatformId = 0x17, kApicBase = 0x1b, kTscAdjust = 0x3b, kSpecCtrl = 0x48,
                     kPredCmd = 0x49, kBiosSignId = 0x8b, kPlatformInfo = 0xce, kMtrrCap = 0xfe,
                     kArchCapabilities = 0x10a, kSysenterCs = 0x174, kSysenterEsp = 0x175,
                     kSysenterEip = 0x176, kMcgCap = 0x179, kMcgStatus = 0x17a, kMiscEnable = 0x1a0,
                     kDebugctl = 0x1d9, kMtrrPhysBase0 = 0x200, kMtrrPhysMask7 = 0x20f,
                     kMtrrFix64k00000 = 0x250, kMtrrFix16k80000 = 0x258, kMtrrFix16kA0000 = 0x259,
                     kMtrrFix4kC0000 = 0x268, kMtrrFix4kF8000 = 0x26f, kPat = 0x277, kMtrrDefType = 0x2ff,
                     kTscDeadline = 0x6e0, kX2apicFirst = 0x800, kX2apicLast = 0x8ff, kXss = 0xda0;
inline constexpr u32 kEfer = 0xc0000080, kStar = 0xc0000081, kLstar = 0xc0000082, kCstar = 0xc0000083,
                     kSfmask = 0xc0000084, kFsBase = 0xc0000100, kGsBase = 0xc0000101,
                     kKernelGsBase = 0xc0000102, kTscAux = 0xc0000103;
inline constexpr u32 kAmdSyscfg = 0xc0010010, kAmdHwcr = 0xc0010015, kAmdNbCfg = 0xc001001f,
                     kAmdDeCfg = 0xc0011029;

namespace apic_base {
inline constexpr u64 kBsp = bit(8), kExtended = bit(10), kEnable = bit(11);
}
namespace misc_enable {
inline constexpr u64 kFastString = bit(0), kBtsUnavailable = bit(11), kPebsUnavailable = bit(12),
                     kLimitCpuid = bit(22);
}
namespace debugctl {
inline constexpr u64 kBtf = bit(1);
}
namespace spec_ctrl {
inline constexpr u64 kIbrs = bit(0), kStibp = bit(1), kBhiDisS = bit(10);
}

/// Memory types of PAT and MTRRs (SDM vol. 3A table 11-2): UC, WC, WT, WP, WB, and UC- in the PAT alone.
constexpr bool is_mtrr_type(u64 type) {
  return type == 0 || type == 1 || (type >= 4 && type <= 6);
}
constexpr bool is_pat_type(u64 type) {
  return is_mtrr_type(type) || type == 7;
}

}  // namespace vellum::x86::msr
