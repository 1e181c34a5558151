// CPU models: which features a guest sees, and CPUID as one table (SDM vol. 2A, CPUID). A feature is one row of
// kFeatureTable (cpu_model.cpp): its name, CPUID leaf, subleaf, register and bit; instruction gating, CR4 and XCR0
// masks, MSR existence and `--cpu` help text all read that row.
#pragma once

#include <bitset>
#include <string>
#include <string_view>
#include <vector>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum::x86 {

enum class Feature : u8 {
  // leaf 1 EDX
  kFpu, kVme, kDe, kPse, kTsc, kMsr, kPae, kMce, kCx8, kApic, kSep, kMtrr, kPge, kMca, kCmov, kPat, kPse36, kClflush,
  kMmx, kFxsr, kSse, kSse2, kSs, kHtt,
  // leaf 1 ECX
  kSse3, kPclmul, kMonitor, kSsse3, kFma, kCx16, kPcid, kSse41, kSse42, kX2apic, kMovbe, kPopcnt, kTscDeadline, kAes,
  kXsave, kOsxsave, kAvx, kF16c, kRdrand, kHypervisor,
  // leaf 7.0 EBX, ECX, EDX
  kFsgsbase, kTscAdjust, kBmi1, kAvx2, kSmep, kBmi2, kErms, kInvpcid, kRdseed, kAdx, kSmap, kClflushopt, kClwb, kSha,
  kUmip, kGfni, kVaes, kVpclmul, kRdpid, kFsrm, kMdClear, kArchCapabilities,
  // leaf 0xd.1 EAX
  kXsaveopt, kXsavec, kXgetbv1, kXsaves,
  // leaf 0x80000001 EDX, ECX
  kSyscall, kNx, kPdpe1gb, kRdtscp, kLm, kLahfLm, kCmpLegacy, kAbm, kSse4a, kPrefetchw, kMmxext, kFxsrOpt,
  // leaf 0x80000007 EDX, 0x80000008 EBX
  kInvariantTsc, kClzero, kXsaveErPtr,
  kArat,
  kCount,
};

struct CpuidResult {
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// What CPUID reports that is not of the model but of this vCPU at this moment.
struct CpuidContext {
  u32 apic_id = 0;
  u32 cpu_count = 1;  ///< logical processors in the machine (one package, one thread a core)
  u64 cr4 = 0;        ///< OSXSAVE mirrors it
  u64 xcr0 = 1;
  u64 xss = 0;
  u64 tsc_hz = 0;
  bool apic_enabled = true;  ///< IA32_APIC_BASE's enable bit: leaf 1 EDX.APIC mirrors it
};

class CpuModel {
 public:
  /// `name`: "host" (what both this host and Vellum have), "x86-64-v2" or "x86-64-v3". Fails with kInvalidArgument
  /// (the message lists the names), or kUnsupported if the host itself lacks what the model has and Vellum needs the
  /// host for (vector instructions run on the host's units).
  static Result<CpuModel> create(std::string_view name);
  static std::vector<std::string_view> names();

  const std::string& name() const { return name_; }
  bool has(Feature f) const { return features_.test(static_cast<unsigned>(f)); }
  CpuidResult cpuid(u32 leaf, u32 subleaf, const CpuidContext& context) const;

  u64 cr4_valid_bits() const;   ///< CR4 bits that may be set
  u64 xcr0_valid_bits() const;  ///< XCR0 bits that may be set; 0 without XSAVE
  u64 efer_valid_bits() const;
  unsigned physical_bits() const { return 40; }  ///< MAXPHYADDR
  static constexpr unsigned kLinearBits = 48;

 private:
  std::string name_;
  std::bitset<static_cast<unsigned>(Feature::kCount)> features_;
  u32 signature_ = 0;          ///< leaf 1 EAX: family, model, stepping
  std::string vendor_, brand_; ///< 12 and up to 48 characters
};

}  // namespace vellum::x86
