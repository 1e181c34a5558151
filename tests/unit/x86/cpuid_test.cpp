// CPUID's leaves: consistent with each other, with the features and with what software computes from them.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "hosts.hpp"
#include "x86/cpu_model.hpp"
#include "x86/registers.hpp"

namespace vellum::x86 {
namespace {

CpuModel model(std::string_view name = "x86-64-v3", std::string vendor = "GenuineIntel") {
  return *CpuModel::create_on(name, full_host(std::move(vendor)));
}

CpuidContext context(u32 cpus = 1, u64 tsc_hz = 2'596'104'000) {
  CpuidContext c;
  c.cpu_count = cpus;
  c.tsc_hz = tsc_hz;
  return c;
}

std::string text(std::initializer_list<u32> words) {
  std::string s;
  for (const u32 word : words) s.append(reinterpret_cast<const char*>(&word), 4);
  return s;
}

bool has_bit(const CpuModel& m, Feature f, const CpuidContext& c) {
  const FeatureRow& row = feature_row(f);
  const CpuidResult r = m.cpuid(row.leaf, row.subleaf, c);
  const u32 words[] = {r.eax, r.ebx, r.ecx, r.edx};
  return ((words[static_cast<unsigned>(row.reg)] >> row.bit) & 1) != 0;
}

TEST(Cpuid, EveryFeatureReadsAsTheModelSays) {
  CpuidContext c = context(4);
  c.cr4 = cr4::kOsxsave;
  for (const std::string_view name : CpuModel::names()) {
    const CpuModel m = model(name);
    for (const FeatureRow& row : feature_table()) {
      if (row.leaf > 0x80000008) continue;
      EXPECT_EQ(has_bit(m, row.feature, c), m.has(row.feature)) << name << " " << row.name;
    }
  }
}

TEST(Cpuid, LeafZeroAndBrand) {
  const CpuModel m = model();
  const CpuidResult zero = m.cpuid(0, 0, context());
  EXPECT_EQ(zero.eax, 0x16u);
  EXPECT_EQ(text({zero.ebx, zero.edx, zero.ecx}), "GenuineIntel");
  std::string brand;
  for (u32 leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const CpuidResult r = m.cpuid(leaf, 0, context());
    brand += text({r.eax, r.ebx, r.ecx, r.edx});
  }
  EXPECT_STREQ(brand.c_str(), "Vellum x86-64-v3 virtual CPU");
}

TEST(Cpuid, HostModelKeepsTheHostsIdentity) {
  const CpuModel m = model("host", "AuthenticAMD");
  const CpuidResult zero = m.cpuid(0, 0, context());
  EXPECT_EQ(text({zero.ebx, zero.edx, zero.ecx}), "AuthenticAMD");
  EXPECT_EQ(m.cpuid(1, 0, context()).eax, full_host().signature);
  EXPECT_EQ(m.cpuid(0x80000001, 0, context()).eax, full_host().signature);
}

TEST(Cpuid, HypervisorLeaves) {
  const CpuModel m = model();
  const CpuidResult base = m.cpuid(0x40000000, 0, context());
  EXPECT_EQ(base.eax, 0x40000010u);
  EXPECT_EQ(text({base.ebx, base.ecx, base.edx}), "VellumVellum");
  EXPECT_EQ(m.cpuid(0x40000010, 0, context()), (CpuidResult{2'596'104, 1'000'000, 0, 0}));
  EXPECT_EQ(m.cpuid(0x40000001, 0, context()), CpuidResult{});
  EXPECT_EQ(m.cpuid(0x40000011, 0, context()), CpuidResult{});
  EXPECT_TRUE(has_bit(m, Feature::kHypervisor, context()));
}

// SDM vol. 2A, CPUID: beyond the maximum the highest basic leaf's data is returned. AMD's processors: zeros.
TEST(Cpuid, OutOfRangeLeaves) {
  const CpuModel intel = model();
  const CpuidResult last = intel.cpuid(0x16, 0, context());
  EXPECT_NE(last, CpuidResult{});
  for (const u32 leaf : {0x17u, 0x20u, 0x3fffffffu, 0x80000009u, 0x8000001fu, 0xffffffffu})
    EXPECT_EQ(intel.cpuid(leaf, 0, context()), last) << std::hex << leaf;
  const CpuModel amd = model("host", "AuthenticAMD");
  for (const u32 leaf : {0xeu, 0x16u, 0x80000009u, 0x8000001eu})
    EXPECT_EQ(amd.cpuid(leaf, 0, context()), CpuidResult{}) << std::hex << leaf;
}

TEST(Cpuid, ReservedLeavesWithinTheRangeAreZero) {
  const CpuModel m = model();
  for (const u32 leaf : {3u, 5u, 8u, 9u, 0xau, 0xcu, 0xfu, 0x10u, 0x14u})
    EXPECT_EQ(m.cpuid(leaf, 0, context()), CpuidResult{}) << std::hex << leaf;
  EXPECT_EQ(m.cpuid(7, 0, context()).eax, 2u);
  EXPECT_EQ(m.cpuid(7, 1, context()), CpuidResult{});
  EXPECT_EQ(m.cpuid(7, 2, context()), (CpuidResult{0, 0, 0, 1 << 4}));
  EXPECT_EQ(m.cpuid(7, 3, context()), CpuidResult{});
}

TEST(Cpuid, StateOfTheVcpuShowsThrough) {
  const CpuModel m = model();
  CpuidContext c = context();
  EXPECT_FALSE(has_bit(m, Feature::kOsxsave, c));
  EXPECT_TRUE(has_bit(m, Feature::kApic, c));
  EXPECT_TRUE(has_bit(m, Feature::kSyscall, c));
  c.cr4 = cr4::kOsxsave;
  c.apic_enabled = false;
  c.mode_64 = false;
  EXPECT_TRUE(has_bit(m, Feature::kOsxsave, c));
  EXPECT_FALSE(has_bit(m, Feature::kApic, c));
  EXPECT_FALSE(has_bit(m, Feature::kX2apic, c));
  EXPECT_FALSE(has_bit(m, Feature::kSyscall, c));
  EXPECT_TRUE(has_bit(model("host", "AuthenticAMD"), Feature::kSyscall, c));
  c.limit_cpuid = true;
  EXPECT_EQ(m.cpuid(0, 0, c).eax, 2u);
}

struct Topology {
  u32 cpus, apic_id, shift, package_ids;
};
class CpuidTopology : public testing::TestWithParam<Topology> {};

TEST_P(CpuidTopology, OnePackageOneThreadACore) {
  const Topology t = GetParam();
  const CpuModel m = model();
  CpuidContext c = context(t.cpus);
  c.apic_id = t.apic_id;
  EXPECT_EQ(m.cpuid(0xb, 0, c), (CpuidResult{0, 1, 0x100, t.apic_id}));
  EXPECT_EQ(m.cpuid(0xb, 1, c), (CpuidResult{t.shift, t.cpus, 0x201, t.apic_id}));
  EXPECT_EQ(m.cpuid(0xb, 2, c), (CpuidResult{0, 0, 2, t.apic_id}));
  const CpuidResult one = m.cpuid(1, 0, c);
  EXPECT_EQ((one.ebx >> 16) & 0xff, std::min(t.package_ids, 255u));
  EXPECT_EQ(one.ebx >> 24, t.apic_id & 0xff);
  EXPECT_EQ((one.edx >> 28) & 1, t.cpus > 1 ? 1u : 0u);
  EXPECT_EQ((m.cpuid(4, 0, c).eax >> 26) + 1, std::min(t.package_ids, 64u));
  EXPECT_EQ(((m.cpuid(4, 0, c).eax >> 14) & 0xfff) + 1, 1u);
  EXPECT_EQ(((m.cpuid(4, 3, c).eax >> 14) & 0xfff) + 1, t.package_ids);
}

INSTANTIATE_TEST_SUITE_P(Counts, CpuidTopology,
                         testing::Values(Topology{1, 0, 0, 1}, Topology{2, 1, 1, 2}, Topology{3, 2, 2, 4},
                                         Topology{4, 3, 2, 4}, Topology{64, 63, 6, 64},
                                         Topology{288, 287, 9, 512}));

TEST(Cpuid, CachesMultiplyOut) {
  const CpuModel m = model();
  const auto kib = [&](u32 subleaf) {
    const CpuidResult r = m.cpuid(4, subleaf, context());
    return ((r.ebx >> 22) + 1) * (((r.ebx >> 12) & 0x3ff) + 1) * ((r.ebx & 0xfff) + 1) * (r.ecx + 1) / 1024;
  };
  EXPECT_EQ(kib(0), 32u);
  EXPECT_EQ(kib(1), 32u);
  EXPECT_EQ(kib(2), 2048u);
  EXPECT_EQ(kib(3), 16384u);
  EXPECT_EQ(m.cpuid(4, 4, context()), CpuidResult{});
  EXPECT_EQ(m.cpuid(0x80000006, 0, context()).ecx >> 16, kib(2));
  EXPECT_EQ((m.cpuid(1, 0, context()).ebx >> 8 & 0xff) * 8, 64u);
}

TEST(Cpuid, XsaveSizesFollowXcr0) {
  const CpuModel m = model();
  CpuidContext c = context();
  EXPECT_EQ(m.cpuid(0xd, 0, c), (CpuidResult{7, 576, 832, 0}));
  c.xcr0 = 7;
  EXPECT_EQ(m.cpuid(0xd, 0, c), (CpuidResult{7, 832, 832, 0}));
  EXPECT_EQ(m.cpuid(0xd, 1, c), (CpuidResult{7, 832, 0, 0}));  // XSAVEOPT, XSAVEC, XGETBV1; no XSAVES
  EXPECT_EQ(m.cpuid(0xd, 2, c), (CpuidResult{256, 576, 0, 0}));
  EXPECT_EQ(m.cpuid(0xd, 3, c), CpuidResult{});
  EXPECT_EQ(model("x86-64-v2").cpuid(0xd, 0, c), CpuidResult{});
}

TEST(Cpuid, AddressSizes) {
  const CpuModel m = model();
  const CpuidResult r = m.cpuid(0x80000008, 0, context());
  EXPECT_EQ(r.eax & 0xff, m.physical_bits());
  EXPECT_EQ((r.eax >> 8) & 0xff, CpuModel::kLinearBits);
}

// What Linux's native_calibrate_tsc() makes of leaf 0x15, in its 32-bit arithmetic.
u32 linux_tsc_khz(const CpuidResult& r) {
  const u32 crystal_khz = r.ecx / 1000;
  return crystal_khz * r.ebx / r.eax;
}

TEST(Cpuid, TscFrequencyIsExactAndTheCrystalNearlyTheApicTimers) {
  const CpuModel m = model();
  i64 worst = 0;
  for (u64 khz = 800'000; khz < 5'200'000; khz += 6'353) {
    const CpuidResult r = m.cpuid(0x15, 0, context(1, khz * 1000));
    ASSERT_NE(r.eax, 0u) << khz;
    EXPECT_EQ(linux_tsc_khz(r), khz);
    worst = std::max(worst, std::abs(i64{r.ecx} - 1'000'000'000));
  }
  EXPECT_LE(worst, 250'000);  // parts in 10^9; most ratios are exact
}

TEST(Cpuid, TscRatioIsPlainWhereItCanBe) {
  const CpuModel m = model();
  EXPECT_EQ(m.cpuid(0x15, 0, context(1, 1'000'000'000)), (CpuidResult{1, 1, 1'000'000'000, 0}));
  EXPECT_EQ(m.cpuid(0x15, 0, context(1, 2'500'000'000)), (CpuidResult{2, 5, 1'000'000'000, 0}));
  EXPECT_EQ(m.cpuid(0x15, 0, context(1, 2'100'000'000)), (CpuidResult{10, 21, 1'000'000'000, 0}));
}

TEST(Cpuid, TscLeafNeverDividesByZero) {
  const CpuModel m = model();
  CpuidContext c = context(1, 0);
  EXPECT_EQ(m.cpuid(0x15, 0, c), CpuidResult{});
  c.tsc_hz = 3'000'000'000;
  c.apic_timer_hz = 0;
  EXPECT_EQ(m.cpuid(0x15, 0, c), CpuidResult{});
  c.apic_timer_hz = 25'000'000;
  EXPECT_EQ(m.cpuid(0x15, 0, c), (CpuidResult{1, 120, 25'000'000, 0}));
}

TEST(Cpuid, AmdExtendedLeaves) {
  const CpuModel m = model("host", "AuthenticAMD");
  const CpuidContext c = context(3);
  const CpuidResult extended = m.cpuid(0x80000001, 0, c);
  const u32 repeated = 0x0183f3ff;
  EXPECT_EQ(extended.edx & repeated, m.cpuid(1, 0, c).edx & repeated);
  EXPECT_EQ(m.cpuid(0x80000008, 0, c).ecx, 2u | (2u << 12));
  EXPECT_TRUE(has_bit(m, Feature::kCmpLegacy, c));
  EXPECT_FALSE(has_bit(m, Feature::kCmpLegacy, context(1)));
  EXPECT_NE(m.cpuid(0x80000005, 0, c), CpuidResult{});
}

}  // namespace
}  // namespace vellum::x86
