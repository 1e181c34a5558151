#include "x86/cpu_features.hpp"

#include <array>

namespace vellum::x86 {
namespace {

using enum CpuidRegister;
using enum Availability;
using enum Provision;
using F = Feature;

// clang-format off
constexpr std::array<FeatureRow, kFeatureCount> kFeatureTable{{
    {F::kFpu,         "fpu",          1, 0, kEdx, 0,  kV2, kSoftware},
    {F::kVme,         "vme",          1, 0, kEdx, 1,  kV2, kSoftware},
    {F::kDe,          "de",           1, 0, kEdx, 2,  kV2, kSoftware},
    {F::kPse,         "pse",          1, 0, kEdx, 3,  kV2, kSoftware},
    {F::kTsc,         "tsc",          1, 0, kEdx, 4,  kV2, kPlatform},
    {F::kMsr,         "msr",          1, 0, kEdx, 5,  kV2, kSoftware},
    {F::kPae,         "pae",          1, 0, kEdx, 6,  kV2, kSoftware},
    {F::kMce,         "mce",          1, 0, kEdx, 7,  kV2, kPlatform},
    {F::kCx8,         "cx8",          1, 0, kEdx, 8,  kV2, kSoftware},
    {F::kApic,        "apic",         1, 0, kEdx, 9,  kDynamic, kPlatform},
    {F::kSep,         "sep",          1, 0, kEdx, 11, kV2, kSoftware},
    {F::kMtrr,        "mtrr",         1, 0, kEdx, 12, kV2, kPlatform},
    {F::kPge,         "pge",          1, 0, kEdx, 13, kV2, kSoftware},
    {F::kMca,         "mca",          1, 0, kEdx, 14, kV2, kPlatform},
    {F::kCmov,        "cmov",         1, 0, kEdx, 15, kV2, kSoftware},
    {F::kPat,         "pat",          1, 0, kEdx, 16, kV2, kPlatform},
    {F::kPse36,       "pse36",        1, 0, kEdx, 17, kV2, kSoftware},
    {F::kClflush,     "clflush",      1, 0, kEdx, 19, kV2, kSoftware},
    {F::kMmx,         "mmx",          1, 0, kEdx, 23, kV2, kHostUnits},
    {F::kFxsr,        "fxsr",         1, 0, kEdx, 24, kV2, kHostUnits},
    {F::kSse,         "sse",          1, 0, kEdx, 25, kV2, kHostUnits},
    {F::kSse2,        "sse2",         1, 0, kEdx, 26, kV2, kHostUnits},
    {F::kSs,          "ss",           1, 0, kEdx, 27, kV2, kPlatform},
    {F::kHtt,         "ht",           1, 0, kEdx, 28, kDynamic, kPlatform},

    {F::kSse3,        "sse3",         1, 0, kEcx, 0,  kV2, kHostUnits},
    {F::kPclmul,      "pclmulqdq",    1, 0, kEcx, 1,  kV3, kHostUnits},
    {F::kMonitor,     "monitor",      1, 0, kEcx, 3,  kNever, kSoftware},
    {F::kSsse3,       "ssse3",        1, 0, kEcx, 9,  kV2, kHostUnits},
    {F::kFma,         "fma",          1, 0, kEcx, 12, kV3, kHostUnits},
    {F::kCx16,        "cx16",         1, 0, kEcx, 13, kV2, kSoftware},
    {F::kPcid,        "pcid",         1, 0, kEcx, 17, kV2, kSoftware},
    {F::kSse41,       "sse4_1",       1, 0, kEcx, 19, kV2, kHostUnits},
    {F::kSse42,       "sse4_2",       1, 0, kEcx, 20, kV2, kHostUnits},
    {F::kX2apic,      "x2apic",       1, 0, kEcx, 21, kV2, kPlatform},
    {F::kMovbe,       "movbe",        1, 0, kEcx, 22, kV3, kSoftware},
    {F::kPopcnt,      "popcnt",       1, 0, kEcx, 23, kV2, kHostUnits},
    {F::kTscDeadline, "tsc_deadline_timer", 1, 0, kEcx, 24, kV2, kPlatform},
    {F::kAes,         "aes",          1, 0, kEcx, 25, kV3, kHostUnits},
    {F::kXsave,       "xsave",        1, 0, kEcx, 26, kV3, kHostUnits},
    {F::kOsxsave,     "osxsave",      1, 0, kEcx, 27, kDynamic, kPlatform},
    {F::kAvx,         "avx",          1, 0, kEcx, 28, kV3, kHostUnits},
    {F::kF16c,        "f16c",         1, 0, kEcx, 29, kV3, kHostUnits},
    {F::kRdrand,      "rdrand",       1, 0, kEcx, 30, kV3, kSoftware},
    {F::kHypervisor,  "hypervisor",   1, 0, kEcx, 31, kV2, kPlatform},

    {F::kFsgsbase,    "fsgsbase",     7, 0, kEbx, 0,  kV3, kSoftware},
    {F::kTscAdjust,   "tsc_adjust",   7, 0, kEbx, 1,  kV2, kPlatform},
    {F::kBmi1,        "bmi1",         7, 0, kEbx, 3,  kV3, kHostUnits},
    {F::kAvx2,        "avx2",         7, 0, kEbx, 5,  kV3, kHostUnits},
    {F::kSmep,        "smep",         7, 0, kEbx, 7,  kV2, kSoftware},
    {F::kBmi2,        "bmi2",         7, 0, kEbx, 8,  kV3, kHostUnits},
    {F::kErms,        "erms",         7, 0, kEbx, 9,  kV2, kPlatform},
    {F::kInvpcid,     "invpcid",      7, 0, kEbx, 10, kV2, kSoftware},
    {F::kRdseed,      "rdseed",       7, 0, kEbx, 18, kV3, kSoftware},
    {F::kAdx,         "adx",          7, 0, kEbx, 19, kV3, kHostUnits},
    {F::kSmap,        "smap",         7, 0, kEbx, 20, kV2, kSoftware},
    {F::kClflushopt,  "clflushopt",   7, 0, kEbx, 23, kV3, kSoftware},
    {F::kClwb,        "clwb",         7, 0, kEbx, 24, kV3, kSoftware},
    {F::kSha,         "sha_ni",       7, 0, kEbx, 29, kV3IfHost, kHostUnits},
    {F::kUmip,        "umip",         7, 0, kEcx, 2,  kV2, kSoftware},
    {F::kGfni,        "gfni",         7, 0, kEcx, 8,  kHost, kHostUnits},
    {F::kVaes,        "vaes",         7, 0, kEcx, 9,  kHost, kHostUnits},
    {F::kVpclmul,     "vpclmulqdq",   7, 0, kEcx, 10, kHost, kHostUnits},
    {F::kRdpid,       "rdpid",        7, 0, kEcx, 22, kV3, kSoftware},
    {F::kFsrm,        "fsrm",         7, 0, kEdx, 4,  kV2, kPlatform},
    {F::kMdClear,     "md_clear",     7, 0, kEdx, 10, kNever, kSoftware},
    {F::kArchCapabilities, "arch_capabilities", 7, 0, kEdx, 29, kV2, kPlatform},

    {F::kXsaveopt,    "xsaveopt",     0xd, 1, kEax, 0, kV3, kSoftware},
    {F::kXsavec,      "xsavec",       0xd, 1, kEax, 1, kV3, kSoftware},
    {F::kXgetbv1,     "xgetbv1",      0xd, 1, kEax, 2, kV3, kSoftware},
    {F::kXsaves,      "xsaves",       0xd, 1, kEax, 3, kNever, kSoftware},

    {F::kSyscall,     "syscall",      0x80000001, 0, kEdx, 11, kV2, kSoftware},
    {F::kNx,          "nx",           0x80000001, 0, kEdx, 20, kV2, kSoftware},
    {F::kPdpe1gb,     "pdpe1gb",      0x80000001, 0, kEdx, 26, kV2, kSoftware},
    {F::kRdtscp,      "rdtscp",       0x80000001, 0, kEdx, 27, kV2, kSoftware},
    {F::kLm,          "lm",           0x80000001, 0, kEdx, 29, kV2, kSoftware},
    {F::kLahfLm,      "lahf_lm",      0x80000001, 0, kEcx, 0,  kV2, kSoftware},
    {F::kCmpLegacy,   "cmp_legacy",   0x80000001, 0, kEcx, 1,  kDynamic, kPlatform},
    {F::kAbm,         "abm",          0x80000001, 0, kEcx, 5,  kV3, kHostUnits},
    {F::kSse4a,       "sse4a",        0x80000001, 0, kEcx, 6,  kHost, kHostUnits},
    {F::kPrefetchw,   "3dnowprefetch", 0x80000001, 0, kEcx, 8, kV2, kSoftware},
    {F::kMmxext,      "mmxext",       0x80000001, 0, kEdx, 22, kAmd, kHostUnits},
    {F::kFxsrOpt,     "fxsr_opt",     0x80000001, 0, kEdx, 25, kNever, kSoftware},

    {F::kInvariantTsc, "invariant_tsc", 0x80000007, 0, kEdx, 8, kV2, kPlatform},
    {F::kClzero,      "clzero",       0x80000008, 0, kEbx, 0,  kHost, kSoftware},
    {F::kXsaveErPtr,  "xsaveerptr",   0x80000008, 0, kEbx, 2,  kNever, kSoftware},
    {F::kArat,        "arat",         6, 0, kEax, 2,  kV2, kPlatform},
    {F::kFpuCsDsDeprecated, "fpu_cs_ds_deprecated", 7, 0, kEbx, 13, kV2, kPlatform},
    {F::kBhiCtrl,     "bhi_ctrl",     7, 2, kEdx, 4,  kV2, kPlatform},
    {F::kSpecCtrl,    "spec_ctrl",    7, 0, kEdx, 26, kV2, kPlatform},
    {F::kStibp,       "stibp",        7, 0, kEdx, 27, kV2, kPlatform},
    {F::kBtcNo,       "btc_no",       0x80000008, 0, kEbx, 29, kAmd, kPlatform},
}};
// clang-format on

constexpr bool in_enumeration_order() {
  for (unsigned i = 0; i < kFeatureCount; ++i)
    if (feature_index(kFeatureTable[i].feature) != i) return false;
  return true;
}
static_assert(in_enumeration_order(), "kFeatureTable has a row for each Feature, in its order");

}  // namespace

std::span<const FeatureRow> feature_table() {
  return kFeatureTable;
}
const FeatureRow& feature_row(Feature f) {
  return kFeatureTable[feature_index(f)];
}

}  // namespace vellum::x86
