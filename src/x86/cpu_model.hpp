// CPU models: which features a guest sees, and CPUID as one table (SDM vol. 2A, CPUID). A feature is one row
// of the feature table (cpu_features.cpp): its name, CPUID leaf, subleaf, register and bit; instruction
// gating, CR4 and XCR0 masks, MSR existence and `--cpu` help text all read that row. docs/cpu-model.md says
// why each model is as it is.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/int.hpp"
#include "base/result.hpp"
#include "x86/cpu_features.hpp"
#include "x86/host_cpu.hpp"

namespace vellum::x86 {

struct CpuidResult {
  u32 eax = 0, ebx = 0, ecx = 0, edx = 0;
  bool operator==(const CpuidResult&) const = default;
};

/// What CPUID reports that is not of the model but of this vCPU at this moment.
struct CpuidContext {
  u32 apic_id = 0;
  u32 cpu_count = 1;  ///< logical processors in the machine (one package, one thread a core)
  u64 cr4 = 0;        ///< OSXSAVE mirrors it
  u64 xcr0 = 1;
  u64 xss = 0;
  u64 tsc_hz = 0;
  bool apic_enabled = true;           ///< IA32_APIC_BASE's enable bit: leaf 1 EDX.APIC mirrors it
  bool mode_64 = true;                ///< in 64-bit mode: Intel's SYSCALL bit reads 1 only there
  bool limit_cpuid = false;           ///< IA32_MISC_ENABLE bit 22: leaf 0 says 2 or less
  u64 apic_timer_hz = 1'000'000'000;  ///< what the local APIC's timer counts, before its divider
};

/// IA32_ARCH_CAPABILITIES (SDM vol. 4; vol. 3A for what each means).
namespace arch_capabilities {
inline constexpr u64 kRdclNo = u64{1} << 0, kIbrsAll = u64{1} << 1, kSkipVmentry = u64{1} << 3,
                     kMdsNo = u64{1} << 5, kIfPschangeMcNo = u64{1} << 6, kTaaNo = u64{1} << 8,
                     kSbdrSsdpNo = u64{1} << 13, kFbsdpNo = u64{1} << 14, kPsdpNo = u64{1} << 15,
                     kBhiNo = u64{1} << 20, kPbrsbNo = u64{1} << 24, kGdsNo = u64{1} << 26,
                     kRfdsNo = u64{1} << 27, kItsNo = u64{1} << 62;
}

class CpuModel {
 public:
  /// `name`: "auto" (x86-64-v3, or -v2, or host: the first that this host can carry), "host" (what both this
  /// host and Vellum have), "x86-64-v2" or "x86-64-v3". Fails with kInvalidArgument (the message lists the
  /// names), or kUnsupported if the host itself lacks what the model has and Vellum needs the host for
  /// (vector instructions run on the host's units).
  static Result<CpuModel> create(std::string_view name);
  /// As create(), for a given host (tests).
  static Result<CpuModel> create_on(std::string_view name, const HostCpu& host);
  static std::vector<std::string_view> names();

  const std::string& name() const { return name_; }
  const std::string& vendor() const { return vendor_; }
  /// AMD's (and Hygon's) variants of the architecture: SYSCALL in compatibility mode, their MSRs.
  bool is_amd() const { return amd_; }
  u32 signature() const { return signature_; }  ///< family, model and stepping, as in leaf 1 EAX
  bool has(Feature f) const { return features_.test(feature_index(f)); }
  CpuidResult cpuid(u32 leaf, u32 subleaf, const CpuidContext& context) const;

  u64 cr4_valid_bits() const;                    ///< CR4 bits that may be set
  u64 xcr0_valid_bits() const;                   ///< XCR0 bits that may be set; 0 without XSAVE
  u64 efer_valid_bits() const;                   ///< including LMA, which software cannot change
  u64 arch_capabilities() const;                 ///< IA32_ARCH_CAPABILITIES
  unsigned physical_bits() const { return 40; }  ///< MAXPHYADDR
  static constexpr unsigned kLinearBits = 48;

 private:
  u32 feature_bits(u32 leaf, u32 subleaf, CpuidRegister reg) const;
  u32 highest_basic_leaf() const;
  CpuidResult basic_leaf(u32 leaf, u32 subleaf, const CpuidContext& context) const;
  CpuidResult extended_leaf(u32 leaf, const CpuidContext& context) const;
  CpuidResult version_leaf(const CpuidContext& context) const;
  CpuidResult xsave_leaf(u32 subleaf, const CpuidContext& context) const;

  std::string name_;
  FeatureSet features_;
  u32 signature_ = 0;           ///< leaf 1 EAX: family, model, stepping
  std::string vendor_, brand_;  ///< 12 and up to 47 characters
  bool amd_ = false;
};

}  // namespace vellum::x86
