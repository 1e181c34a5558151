#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "cpu/kvm/cpuid.hpp"
#include "cpu/kvm/registers.hpp"

namespace vellum::kvm {
namespace {

using x86::Feature;

kvm_cpuid_entry2 entry(u32 leaf, u32 eax, u32 ebx, u32 ecx, u32 edx) {
  kvm_cpuid_entry2 e{};
  e.function = leaf;
  e.eax = eax, e.ebx = ebx, e.ecx = ecx, e.edx = edx;
  return e;
}

const kvm_cpuid_entry2& find(const std::vector<kvm_cpuid_entry2>& table, u32 leaf, u32 subleaf = 0) {
  return *std::ranges::find_if(table,
                               [=](const auto& e) { return e.function == leaf && e.index == subleaf; });
}

x86::CpuModel any_model() {
  return *x86::CpuModel::create("host");
}

bool shows(const std::vector<kvm_cpuid_entry2>& table, Feature f) {
  const auto& row = x86::feature_row(f);
  const auto& e = find(table, row.leaf, row.subleaf);
  const u32 words[] = {e.eax, e.ebx, e.ecx, e.edx};
  return (words[static_cast<unsigned>(row.reg)] >> row.bit & 1) != 0;
}

TEST(KvmCpuid, AFeatureThatKvmLacksIsNotShown) {
  const auto table = cpuid_table(any_model(), {}, {entry(1, 0, 0, 0, ~0u)});

  EXPECT_TRUE(shows(table, Feature::kSse2));
  EXPECT_FALSE(shows(table, Feature::kSsse3));
}

TEST(KvmCpuid, WhatTheBoardProvidesIsShownAllTheSame) {
  const auto table = cpuid_table(any_model(), {}, {});

  EXPECT_TRUE(shows(table, Feature::kApic));
  EXPECT_TRUE(shows(table, Feature::kX2apic));
  EXPECT_TRUE(shows(table, Feature::kTscDeadline));
}

TEST(KvmCpuid, SpeculationIsTheHostsTruthEvenWhereTheModelKnowsNothing) {
  constexpr u32 kMdClear = 1u << 10;

  const auto with = cpuid_table(any_model(), {}, {entry(7, 0, 0, 0, kMdClear)});
  const auto without = cpuid_table(any_model(), {}, {});

  EXPECT_NE(find(with, 7).edx & kMdClear, 0u);
  EXPECT_EQ(find(without, 7).edx & (1u << 29),
            0u);  // ARCH_CAPABILITIES: the model's claims are of software engines
}

TEST(KvmCpuid, IndexedLeavesSayThatTheyAre) {
  const auto table = cpuid_table(any_model(), {}, {});

  EXPECT_EQ(find(table, 7, 2).flags, u32{KVM_CPUID_FLAG_SIGNIFCANT_INDEX});
  EXPECT_EQ(find(table, 1).flags, 0u);
}

TEST(KvmCpuid, TheClockIsWhatThisKvmHasOfIt) {
  constexpr u32 kOld = 1, kNew = 1 << 3, kStealTime = 1 << 5, kStable = 1 << 24;

  EXPECT_EQ(clock_features({}), 0u);
  EXPECT_EQ(clock_features({entry(0x40000001, kOld | kStable, 0, 0, 0)}), 0u);
  EXPECT_EQ(clock_features({entry(0x40000001, kOld | kNew | kStealTime, 0, 0, 0)}), kNew);
  EXPECT_EQ(clock_features({entry(0x40000001, kNew | kStable, 0, 0, 0)}), kNew | kStable);
}

TEST(KvmCpuid, TheClocksLeavesHaveKvmsSignature) {
  const auto leaves = clock_leaves({entry(0x40000001, 1 << 3, 0, 0, 0)});

  std::array<char, 12> signature{};
  std::memcpy(signature.data(), &leaves[0].ebx, 4);
  std::memcpy(signature.data() + 4, &leaves[0].ecx, 4);
  std::memcpy(signature.data() + 8, &leaves[0].edx, 4);
  EXPECT_EQ(std::string_view(signature.data(), 12), std::string_view("KVMKVMKVM\0\0\0", 12));
  EXPECT_EQ(leaves[0].function, 0x40000100u);
  EXPECT_EQ(leaves[0].eax, leaves[1].function);
  EXPECT_EQ(leaves[1].eax, 1u << 3);
}

TEST(KvmRegisters, GeneralRegistersComeBackAsTheyWent) {
  VcpuState from, to;
  for (unsigned i = 0; i < 16; ++i) from.gpr[i] = 0x100 + i;
  from.rip = 0x1234;
  from.rflags = 0x246;
  kvm_regs regs{};

  to_regs(from, regs);
  from_regs(regs, to);

  EXPECT_EQ(regs.rbx, 0x100u + x86::kRbx);
  EXPECT_EQ(to.gpr, from.gpr);
  EXPECT_EQ(to.rip, from.rip);
  EXPECT_EQ(to.rflags, from.rflags);
}

TEST(KvmRegisters, SegmentsAndPrivilegeComeBackAsTheyWent) {
  VcpuState from = reset_state(true), to;
  from.segment(x86::Seg::kCs) = {.selector = 0x33, .attributes = 0xa0fb, .limit = ~0u, .base = 0};
  from.segment(x86::Seg::kSs) = {.selector = 0x2b, .attributes = 0xc0f3, .limit = ~0u, .base = 0};
  from.cpl = 3;
  from.gdtr = {0xffff800000001000, 0x7f};
  kvm_sregs sregs{};

  to_sregs(from, sregs);
  from_sregs(sregs, to);

  EXPECT_EQ(to.seg, from.seg);
  EXPECT_EQ(to.ldtr, from.ldtr);
  EXPECT_EQ(to.tr, from.tr);
  EXPECT_EQ(to.gdtr, from.gdtr);
  EXPECT_EQ(to.cpl, 3);
}

TEST(KvmRegisters, VectorStateComesBackAsItWentWithoutTheHostsComponents) {
  VcpuState from = reset_state(true), to;
  from.xsave.header[0] = 7;
  from.xsave.xmm(3)[5] = 0xaa;
  from.xsave.ymm_hi(15)[15] = 0xbb;
  XsaveBytes area;

  to_xsave(from, area);
  area.region[128] |= 1u << 9;  // XSTATE_BV: PKRU
  from_xsave(area, to);

  EXPECT_EQ(to.xsave, from.xsave);
}

TEST(KvmRegisters, ShadowsAndNmiStateComeBackAsTheyWent) {
  VcpuState from, to;
  from.shadow_sti = from.nmi_blocked = from.nmi_pending = true;
  kvm_vcpu_events events;

  to_events(from, events);
  from_events(events, to);

  EXPECT_TRUE(to.shadow_sti && to.nmi_blocked && to.nmi_pending);
  EXPECT_FALSE(to.shadow_mov_ss);
  EXPECT_FALSE(delivery_in_progress(events));
}

}  // namespace
}  // namespace vellum::kvm
