#include "cpu/kvm/cpuid.hpp"

#include <asm/kvm_para.h>

#include <algorithm>
#include <array>

namespace vellum::kvm {
namespace {

using x86::CpuidRegister;
using x86::CpuidResult;
using x86::Feature;

// Features of the board around the processor, which it provides itself: with the local APIC in user space KVM
// does not offer some of them.
constexpr std::array kBoards{Feature::kApic, Feature::kX2apic,     Feature::kTscDeadline, Feature::kArat,
                             Feature::kHtt,  Feature::kHypervisor, Feature::kCmpLegacy};

// Bits about speculative execution are facts about the processor that runs the guest's code, and what a guest
// needs to protect itself there; so they are passed on as KVM reports them, whatever the model says.
struct HostWord {
  u32 leaf, subleaf;
  CpuidRegister reg;
  u32 mask;
};
constexpr std::array kSpeculation{
    // MD_CLEAR, SPEC_CTRL, STIBP, FLUSH_L1D, ARCH_CAPABILITIES, SSBD
    HostWord{7, 0, CpuidRegister::kEdx, 1u << 10 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29 | 1u << 31},
    HostWord{7, 2, CpuidRegister::kEdx, 0x3f},  // PSFD, IPRED, RRSBA, DDPD_U, BHI, MCDT_NO
    // IBPB, IBRS, STIBP, their "always on", "preferred" and "same mode"; SSBD, VIRT_SSBD, SSB_NO, PSFD,
    // BTC_NO
    HostWord{0x80000008, 0, CpuidRegister::kEbx, 0x1f << 14 | 1u << 12 | 0x7u << 24 | 1u << 28 | 1u << 29},
};

u32& word(CpuidResult& r, CpuidRegister reg) {
  u32* const words[] = {&r.eax, &r.ebx, &r.ecx, &r.edx};
  return *words[static_cast<unsigned>(reg)];
}

CpuidResult supported_leaf(const std::vector<kvm_cpuid_entry2>& supported, u32 leaf, u32 subleaf) {
  for (const kvm_cpuid_entry2& e : supported)
    if (e.function == leaf && ((e.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) == 0 || e.index == subleaf))
      return {e.eax, e.ebx, e.ecx, e.edx};
  return {};
}

bool carried(const x86::FeatureRow& row, const std::vector<kvm_cpuid_entry2>& supported) {
  if (std::ranges::find(kBoards, row.feature) != kBoards.end()) return true;
  CpuidResult leaf = supported_leaf(supported, row.leaf, row.subleaf);
  return (word(leaf, row.reg) >> row.bit & 1) != 0;
}

/// One past the highest subleaf that says something.
u32 subleaf_count(u32 leaf) {
  switch (leaf) {
    case 4:
      return 5;
    case 7:
    case 0xb:
    case 0xd:
      return 3;
    default:
      return 0;  // not indexed
  }
}

void restrict(CpuidResult& r, u32 leaf, u32 subleaf, const std::vector<kvm_cpuid_entry2>& supported) {
  for (const x86::FeatureRow& row : x86::feature_table())
    if (row.leaf == leaf && row.subleaf == subleaf && !carried(row, supported))
      word(r, row.reg) &= ~(u32{1} << row.bit);
  CpuidResult host = supported_leaf(supported, leaf, subleaf);
  for (const HostWord& bits : kSpeculation)
    if (bits.leaf == leaf && bits.subleaf == subleaf)
      word(r, bits.reg) = (word(r, bits.reg) & ~bits.mask) | (word(host, bits.reg) & bits.mask);
  if (leaf == 0xd && subleaf == 0) r.eax &= host.eax;
  if (leaf == 0xd && subleaf == 2 && host.eax == 0) r = {};
  if (leaf == 0x80000008 && (host.eax & 0xff) != 0)
    r.eax = (r.eax & ~0xffu) | std::min(r.eax & 0xff, host.eax & 0xff);
}

}  // namespace

std::vector<kvm_cpuid_entry2> cpuid_table(const x86::CpuModel& model, const x86::CpuidContext& context,
                                          const std::vector<kvm_cpuid_entry2>& supported) {
  std::vector<kvm_cpuid_entry2> table;
  const auto add = [&](u32 leaf, u32 subleaf, u32 flags) {
    CpuidResult r = model.cpuid(leaf, subleaf, context);
    restrict(r, leaf, subleaf, supported);
    kvm_cpuid_entry2 entry{};
    entry.function = leaf;
    entry.index = subleaf;
    entry.flags = flags;
    entry.eax = r.eax;
    entry.ebx = r.ebx;
    entry.ecx = r.ecx;
    entry.edx = r.edx;
    table.push_back(entry);
  };
  for (const u32 base : {0u, 0x40000000u, 0x80000000u}) {
    const u32 last = model.cpuid(base, 0, context).eax;
    for (u32 leaf = base; leaf <= last; ++leaf) {
      const u32 subleaves = subleaf_count(leaf);
      if (subleaves == 0) add(leaf, 0, 0);
      for (u32 subleaf = 0; subleaf < subleaves; ++subleaf)
        add(leaf, subleaf, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
    }
  }
  return table;
}

u32 clock_features(const std::vector<kvm_cpuid_entry2>& supported) {
  constexpr u32 kClock = u32{1} << KVM_FEATURE_CLOCKSOURCE2;
  constexpr u32 kStable = u32{1} << KVM_FEATURE_CLOCKSOURCE_STABLE_BIT;
  const u32 features = supported_leaf(supported, KVM_CPUID_FEATURES, 0).eax & (kClock | kStable);
  return (features & kClock) != 0 ? features : 0;
}

std::array<kvm_cpuid_entry2, 2> clock_leaves(const std::vector<kvm_cpuid_entry2>& supported) {
  std::array<kvm_cpuid_entry2, 2> leaves{};
  leaves[0].function = kKvmLeaves;
  leaves[0].eax = kKvmLeaves + 1;
  leaves[0].ebx = 0x4b4d564b, leaves[0].ecx = 0x564b4d56, leaves[0].edx = 0x4d;  // "KVMKVMKVM"
  leaves[1].function = kKvmLeaves + 1;
  leaves[1].eax = clock_features(supported);
  return leaves;
}

std::vector<std::string> missing_features(const x86::CpuModel& model,
                                          const std::vector<kvm_cpuid_entry2>& supported) {
  std::vector<std::string> names;
  for (const x86::FeatureRow& row : x86::feature_table())
    if (model.has(row.feature) && row.feature != Feature::kOsxsave && !carried(row, supported))
      names.emplace_back(row.name);
  return names;
}

}  // namespace vellum::kvm
