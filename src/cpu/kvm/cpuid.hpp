// The CPUID table of a vCPU on KVM: what the CPU model says, without what this KVM cannot carry.
#pragma once

#include <linux/kvm.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "x86/cpu_model.hpp"

namespace vellum::kvm {

/// kvm_cpuid2 as the kernel reads it: a count, padding, then the entries. (In C++ the header's own
/// declaration has the entries elsewhere.)
class CpuidArgument {
 public:
  explicit CpuidArgument(u32 count) : bytes_(kHeader + count * sizeof(kvm_cpuid_entry2)) {
    std::memcpy(bytes_.data(), &count, sizeof count);
  }
  explicit CpuidArgument(const std::vector<kvm_cpuid_entry2>& entries)
      : CpuidArgument(static_cast<u32>(entries.size())) {
    if (!entries.empty())
      std::memcpy(bytes_.data() + kHeader, entries.data(), entries.size() * sizeof(kvm_cpuid_entry2));
  }
  u8* get() { return bytes_.data(); }
  std::vector<kvm_cpuid_entry2> entries() const {
    u32 count = 0;
    std::memcpy(&count, bytes_.data(), sizeof count);
    count = std::min<u32>(count, (bytes_.size() - kHeader) / sizeof(kvm_cpuid_entry2));
    std::vector<kvm_cpuid_entry2> entries(count);
    if (count != 0) std::memcpy(entries.data(), bytes_.data() + kHeader, count * sizeof(kvm_cpuid_entry2));
    return entries;
  }

 private:
  static constexpr std::size_t kHeader = 2 * sizeof(u32);
  std::vector<u8> bytes_;
};

/// Vellum's own hypervisor leaves are at 0x40000000; those of KVM's interface stand here, where its guests
/// look next.
inline constexpr u32 kKvmLeaves = 0x40000100;

/// The features in KVM's second leaf that this KVM has and we pass on: its clock, by the newer of its MSRs.
/// 0 without a clock.
u32 clock_features(const std::vector<kvm_cpuid_entry2>& supported);

/// Every leaf of `model` for a vCPU in the state that `context` names. What changes while the guest runs
/// (OSXSAVE, APIC, sizes of XSAVE's areas) the kernel keeps up to date in its copy.
std::vector<kvm_cpuid_entry2> cpuid_table(const x86::CpuModel& model, const x86::CpuidContext& context,
                                          const std::vector<kvm_cpuid_entry2>& supported);

/// The two leaves by which a guest finds KVM's clock.
std::array<kvm_cpuid_entry2, 2> clock_leaves(const std::vector<kvm_cpuid_entry2>& supported);

/// Names of the features that `model` has and this KVM has not.
std::vector<std::string> missing_features(const x86::CpuModel& model,
                                          const std::vector<kvm_cpuid_entry2>& supported);

}  // namespace vellum::kvm
