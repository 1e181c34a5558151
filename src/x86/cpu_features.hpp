// The feature table: one row for each CPUID feature bit that Vellum knows (SDM vol. 2A, CPUID; AMD64 APM vol.
// 3 appendix E for those that only AMD defines). CPU models, CPUID, `--cpu` messages and tests read the rows.
#pragma once

#include <bitset>
#include <span>
#include <string_view>

#include "base/int.hpp"

namespace vellum::x86 {

enum class Feature : u8 {
  // leaf 1 EDX
  kFpu,
  kVme,
  kDe,
  kPse,
  kTsc,
  kMsr,
  kPae,
  kMce,
  kCx8,
  kApic,
  kSep,
  kMtrr,
  kPge,
  kMca,
  kCmov,
  kPat,
  kPse36,
  kClflush,
  kMmx,
  kFxsr,
  kSse,
  kSse2,
  kSs,
  kHtt,
  // leaf 1 ECX
  kSse3,
  kPclmul,
  kMonitor,
  kSsse3,
  kFma,
  kCx16,
  kPcid,
  kSse41,
  kSse42,
  kX2apic,
  kMovbe,
  kPopcnt,
  kTscDeadline,
  kAes,
  kXsave,
  kOsxsave,
  kAvx,
  kF16c,
  kRdrand,
  kHypervisor,
  // leaf 7.0 EBX, ECX, EDX
  kFsgsbase,
  kTscAdjust,
  kBmi1,
  kAvx2,
  kSmep,
  kBmi2,
  kErms,
  kInvpcid,
  kRdseed,
  kAdx,
  kSmap,
  kClflushopt,
  kClwb,
  kSha,
  kUmip,
  kGfni,
  kVaes,
  kVpclmul,
  kRdpid,
  kFsrm,
  kMdClear,
  kArchCapabilities,
  // leaf 0xd.1 EAX
  kXsaveopt,
  kXsavec,
  kXgetbv1,
  kXsaves,
  // leaf 0x80000001 EDX, ECX
  kSyscall,
  kNx,
  kPdpe1gb,
  kRdtscp,
  kLm,
  kLahfLm,
  kCmpLegacy,
  kAbm,
  kSse4a,
  kPrefetchw,
  kMmxext,
  kFxsrOpt,
  // leaf 0x80000007 EDX, 0x80000008 EBX
  kInvariantTsc,
  kClzero,
  kXsaveErPtr,
  kArat,
  kFpuCsDsDeprecated,  ///< leaf 7.0 EBX: FCS and FDS are saved as 0
  kBhiCtrl,            ///< leaf 7.2 EDX: IA32_SPEC_CTRL.BHI_DIS_S
  kSpecCtrl,
  kStibp,  ///< leaf 7.0 EDX: IA32_SPEC_CTRL.IBRS with IA32_PRED_CMD, and .STIBP
  kBtcNo,  ///< leaf 0x80000008 EBX: no branch type confusion
  kCount,
};

inline constexpr unsigned kFeatureCount = static_cast<unsigned>(Feature::kCount);
using FeatureSet = std::bitset<kFeatureCount>;

enum class CpuidRegister : u8 { kEax, kEbx, kEcx, kEdx };

/// Which models have a feature. `host` has all of rows kV2 to kHost that the host has too, or that are
/// kPlatform.
enum class Availability : u8 {
  kV2,        ///< x86-64-v2 and up: the level's instructions, and what a kernel needs beside them
  kV3,        ///< x86-64-v3 and up
  kV3IfHost,  ///< x86-64-v3, silently left out where the host's units lack it
  kHost,      ///< the model `host` alone, where the host has it
  kAmd,       ///< synthesised for a host model of AMD's (and Hygon's) vendor string
  kDynamic,   ///< CPUID computes it from the vCPU's state; has() says that it can be 1
  kNever,     ///< known by name, not implemented: an engine must raise #UD, a bit must read 0
};

/// Who makes a feature work, and so what the host must have.
enum class Provision : u8 {
  kHostUnits,  ///< its instructions run natively on the host (src/cpu/interp/native.hpp): a host without it
               ///< can't
  kSoftware,   ///< Vellum executes it by itself on any host
  kPlatform,   ///< of the machine around the vCPU, not of the host: `host` has it on any host
};

struct FeatureRow {
  Feature feature;
  std::string_view name;  ///< as in Linux's /proc/cpuinfo where it has one
  u32 leaf;
  u8 subleaf;
  CpuidRegister reg;
  u8 bit;
  Availability availability;
  Provision provision;
};

/// All rows, in the order of the enumeration.
std::span<const FeatureRow> feature_table();
const FeatureRow& feature_row(Feature f);

constexpr unsigned feature_index(Feature f) {
  return static_cast<unsigned>(f);
}

}  // namespace vellum::x86
