// Which features each model has, and what is said when a model cannot be had.
#include "x86/cpu_model.hpp"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "hosts.hpp"
#include "x86/registers.hpp"

namespace vellum::x86 {
namespace {

TEST(FeatureTable, NamesAndBitsAreUnique) {
  std::set<std::string_view> names;
  std::set<std::tuple<u32, u8, CpuidRegister, u8>> bits;
  for (const FeatureRow& row : feature_table()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(bits.insert({row.leaf, row.subleaf, row.reg, row.bit}).second) << row.name;
    EXPECT_LT(row.bit, 32) << row.name;
  }
  EXPECT_EQ(names.size(), kFeatureCount);
}

TEST(FeatureTable, RowsHoldTheSdmsBits) {
  const auto at = [](Feature f) {
    const FeatureRow& row = feature_row(f);
    return std::tuple(row.leaf, row.reg, row.bit);
  };
  EXPECT_EQ(at(Feature::kSep), std::tuple(1u, CpuidRegister::kEdx, u8{11}));
  EXPECT_EQ(at(Feature::kXsave), std::tuple(1u, CpuidRegister::kEcx, u8{26}));
  EXPECT_EQ(at(Feature::kSmap), std::tuple(7u, CpuidRegister::kEbx, u8{20}));
  EXPECT_EQ(at(Feature::kUmip), std::tuple(7u, CpuidRegister::kEcx, u8{2}));
  EXPECT_EQ(at(Feature::kArchCapabilities), std::tuple(7u, CpuidRegister::kEdx, u8{29}));
  EXPECT_EQ(at(Feature::kXsavec), std::tuple(0xdu, CpuidRegister::kEax, u8{1}));
  EXPECT_EQ(at(Feature::kLm), std::tuple(0x80000001u, CpuidRegister::kEdx, u8{29}));
  EXPECT_EQ(at(Feature::kAbm), std::tuple(0x80000001u, CpuidRegister::kEcx, u8{5}));
}

TEST(CpuModel, UnknownNameListsTheModels) {
  const auto model = CpuModel::create_on("pentium", full_host());
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(model.error().message,
            "unknown CPU model 'pentium'; the models are auto, host, x86-64-v2, x86-64-v3");
}

TEST(CpuModel, NamedModelNamesTheFirstFeatureThatTheHostLacks) {
  const auto model = CpuModel::create_on("x86-64-v3", host_without({Feature::kBmi2, Feature::kAvx2}));
  ASSERT_FALSE(model);
  EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(
      model.error().message,
      "CPU model 'x86-64-v3' needs the feature 'avx2', which this host's processor (Test Host) lacks; choose "
      "--cpu host or --cpu x86-64-v2");
}

TEST(CpuModel, LowerLevelNeedsLessOfTheHost) {
  const HostCpu host = host_without({Feature::kAvx, Feature::kAvx2, Feature::kBmi1, Feature::kXsave});
  EXPECT_TRUE(CpuModel::create_on("x86-64-v2", host));
  EXPECT_FALSE(CpuModel::create_on("x86-64-v3", host));
  EXPECT_FALSE(CpuModel::create_on("x86-64-v2", host_without({Feature::kSse42})));
}

TEST(CpuModel, SoftwareFeaturesNeedNothingOfTheHost) {
  const auto v3 = CpuModel::create_on(
      "x86-64-v3", host_without({Feature::kSmap, Feature::kRdrand, Feature::kX2apic, Feature::kInvpcid}));
  ASSERT_TRUE(v3);
  for (const Feature f : {Feature::kSmap, Feature::kRdrand, Feature::kX2apic, Feature::kInvpcid})
    EXPECT_TRUE(v3->has(f)) << feature_row(f).name;
}

// The psABI's micro-architecture levels (x86-64 psABI §3.1.1).
TEST(CpuModel, LevelsHoldWhatThePsAbiAsks) {
  const auto v2 = CpuModel::create_on("x86-64-v2", full_host());
  const auto v3 = CpuModel::create_on("x86-64-v3", full_host());
  ASSERT_TRUE(v2 && v3);
  for (const Feature f :
       {Feature::kCmov, Feature::kCx8, Feature::kFpu, Feature::kFxsr, Feature::kMmx, Feature::kSyscall,
        Feature::kSse, Feature::kSse2, Feature::kCx16, Feature::kLahfLm, Feature::kPopcnt, Feature::kSse3,
        Feature::kSse41, Feature::kSse42, Feature::kSsse3}) {
    EXPECT_TRUE(v2->has(f)) << feature_row(f).name;
    EXPECT_TRUE(v3->has(f)) << feature_row(f).name;
  }
  for (const Feature f : {Feature::kAvx, Feature::kAvx2, Feature::kBmi1, Feature::kBmi2, Feature::kF16c,
                          Feature::kFma, Feature::kAbm, Feature::kMovbe, Feature::kXsave, Feature::kAes,
                          Feature::kPclmul, Feature::kRdrand, Feature::kAdx}) {
    EXPECT_FALSE(v2->has(f)) << feature_row(f).name;
    EXPECT_TRUE(v3->has(f)) << feature_row(f).name;
  }
}

TEST(CpuModel, ShaFollowsTheHost) {
  EXPECT_TRUE(CpuModel::create_on("x86-64-v3", full_host())->has(Feature::kSha));
  EXPECT_FALSE(CpuModel::create_on("x86-64-v3", host_without({Feature::kSha}))->has(Feature::kSha));
}

TEST(CpuModel, NoModelHasWhatVellumLacks) {
  for (const std::string_view name : CpuModel::names()) {
    const auto model = CpuModel::create_on(name, full_host());
    ASSERT_TRUE(model) << name;
    for (const FeatureRow& row : feature_table())
      EXPECT_FALSE(row.availability == Availability::kNever && model->has(row.feature))
          << name << " " << row.name;
  }
}

TEST(CpuModel, AutomaticTakesTheBestThatTheHostCanCarry) {
  EXPECT_EQ(CpuModel::create_on("auto", full_host())->name(), "x86-64-v3");
  EXPECT_EQ(CpuModel::create_on("auto", host_without({Feature::kAvx2}))->name(), "x86-64-v2");
  EXPECT_EQ(CpuModel::create_on("auto", host_without({Feature::kAvx2, Feature::kSsse3}))->name(), "host");
}

TEST(CpuModel, HostIsTheIntersection) {
  const auto model = CpuModel::create_on("host", host_without({Feature::kAvx2, Feature::kPcid}));
  ASSERT_TRUE(model);
  EXPECT_FALSE(model->has(Feature::kAvx2));
  EXPECT_FALSE(model->has(Feature::kPcid));
  EXPECT_TRUE(model->has(Feature::kGfni));
  EXPECT_FALSE(model->has(Feature::kMonitor));
}

TEST(CpuModel, HostHasThePlatformsFeaturesOnAnyHost) {
  HostCpu host = full_host();
  host.features.reset();
  const auto model = CpuModel::create_on("host", host);
  ASSERT_TRUE(model);
  for (const FeatureRow& row : feature_table()) {
    const bool intel_dynamic = row.feature != Feature::kCmpLegacy && row.feature != Feature::kOsxsave;
    const bool expected = row.provision == Provision::kPlatform && intel_dynamic &&
                          row.availability != Availability::kNever && row.availability != Availability::kAmd;
    EXPECT_EQ(model->has(row.feature), expected) << row.name;
  }
}

TEST(CpuModel, HostWithoutXsaveHasNoAvxFamily) {
  const auto model = CpuModel::create_on("host", host_without({Feature::kXsave}));
  ASSERT_TRUE(model);
  for (const Feature f : {Feature::kAvx, Feature::kAvx2, Feature::kFma, Feature::kF16c, Feature::kVaes,
                          Feature::kXsavec, Feature::kOsxsave})
    EXPECT_FALSE(model->has(f)) << feature_row(f).name;
  EXPECT_EQ(model->xcr0_valid_bits(), 0u);
  EXPECT_EQ(model->cr4_valid_bits() & cr4::kOsxsave, 0u);
}

TEST(CpuModel, VendorDecidesTheVariant) {
  EXPECT_TRUE(CpuModel::create_on("host", full_host("AuthenticAMD"))->is_amd());
  EXPECT_TRUE(CpuModel::create_on("host", full_host("AuthenticAMD"))->has(Feature::kMmxext));
  EXPECT_FALSE(CpuModel::create_on("host", full_host())->is_amd());
  EXPECT_FALSE(CpuModel::create_on("host", full_host())->has(Feature::kMmxext));
  EXPECT_FALSE(CpuModel::create_on("x86-64-v3", full_host("AuthenticAMD"))->is_amd());
}

TEST(CpuModel, ThisHostCanRunTheHostModel) {
  const auto model = CpuModel::create("host");
  ASSERT_TRUE(model);
  EXPECT_TRUE(model->has(Feature::kLm));
  EXPECT_TRUE(model->has(Feature::kSse2));
}

struct ValidBits {
  std::string_view model;
  u64 cr4, xcr0, efer;
};
class CpuModelValidBits : public testing::TestWithParam<ValidBits> {};

TEST_P(CpuModelValidBits, FollowTheFeatures) {
  const auto model = CpuModel::create_on(GetParam().model, full_host());
  ASSERT_TRUE(model);
  EXPECT_EQ(model->cr4_valid_bits(), GetParam().cr4);
  EXPECT_EQ(model->xcr0_valid_bits(), GetParam().xcr0);
  EXPECT_EQ(model->efer_valid_bits(), GetParam().efer);
}

// CR4: bits 0-11 but for none, FSGSBASE 16, PCIDE 17, OSXSAVE 18, SMEP 20, SMAP 21; no LA57, VMXE, SMXE, PKE,
// CET.
INSTANTIATE_TEST_SUITE_P(Models, CpuModelValidBits,
                         testing::Values(ValidBits{"x86-64-v2", 0x320fff, 0, 0xd01},
                                         ValidBits{"x86-64-v3", 0x370fff, 7, 0xd01},
                                         ValidBits{"host", 0x370fff, 7, 0xd01}));

TEST(CpuModel, ArchCapabilitiesClearTheMeltdownClass) {
  const u64 value = CpuModel::create_on("x86-64-v3", full_host())->arch_capabilities();
  EXPECT_NE(value & arch_capabilities::kRdclNo, 0u);
  EXPECT_NE(value & arch_capabilities::kMdsNo, 0u);
  EXPECT_NE(value & arch_capabilities::kTaaNo, 0u);
  EXPECT_NE(value & arch_capabilities::kIbrsAll, 0u);
  // Speculative store bypass is the host's: neither denied (bit 4) nor given a switch.
  EXPECT_EQ(value & (u64{1} << 4), 0u);
}

}  // namespace
}  // namespace vellum::x86
