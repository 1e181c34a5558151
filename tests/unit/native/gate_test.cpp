// Which exception an instruction raises when its registers are not available: by CR0, CR4, XCR0 and mode (SDM
// vol. 2A §2.4, vol. 3A table 2-2).
#include "bench.hpp"

namespace vellum::test {
namespace {

using interp::Flow;
using namespace x86;

constexpr u8 kRuns = 0xff;

const std::vector<u8> kAddps = {0x0f, 0x58, 0xc1};         // addps xmm0, xmm1
const std::vector<u8> kMovups = {0x0f, 0x10, 0xc1};        // movups xmm0, xmm1
const std::vector<u8> kVaddps = {0xc5, 0xf4, 0x58, 0xc2};  // vaddps ymm0, ymm1, ymm2
const std::vector<u8> kVzeroupper = {0xc5, 0xf8, 0x77};
const std::vector<u8> kPaddb = {0x0f, 0xfc, 0xc1};     // paddb mm0, mm1
const std::vector<u8> kCvtps2pi = {0x0f, 0x2d, 0xc1};  // cvtps2pi mm0, xmm1
const std::vector<u8> kFadd = {0xd8, 0xc1};
const std::vector<u8> kFnstsw = {0xdf, 0xe0};
const std::vector<u8> kFninit = {0xdb, 0xe3};
const std::vector<u8> kFwait = {0x9b};
const std::vector<u8> kAndn = {0xc4, 0xe2, 0x70, 0xf2, 0xc2};  // andn eax, ecx, edx
const std::vector<u8> kPopcnt = {0xf3, 0x0f, 0xb8, 0xc1};
const std::vector<u8> kFxsave = {0x0f, 0xae, 0x03};
const std::vector<u8> kXsave = {0x0f, 0xae, 0x23};
const std::vector<u8> kCrc32 = {0xf2, 0x0f, 0x38, 0xf1, 0xc1};
const std::vector<u8> kMfence = {0x0f, 0xae, 0xf0};
const std::vector<u8> kMovnti = {0x0f, 0xc3, 0x03};
const std::vector<u8> kEmms = {0x0f, 0x77};

struct GateCase {
  const char* condition;
  u64 cr0_set, cr4_clear, xcr0_clear;
  const std::vector<u8>& bytes;
  u8 vector;
};

class Gates : public testing::Test {
 protected:
  u8 outcome(const std::vector<u8>& bytes) {
    bench.v.state.gpr[kRbx] = kData;
    return bench.run(bytes) == Flow::kFault ? bench.v.fault.vector : kRuns;
  }
  NativeBench bench;
};

TEST_F(Gates, ControlRegistersDecide) {
  if (!bench.model.has(Feature::kAvx2)) GTEST_SKIP() << "the host lacks AVX2";
  const GateCase cases[] = {
      {"EM", cr0::kEm, 0, 0, kAddps, kUd},
      {"EM", cr0::kEm, 0, 0, kMovups, kUd},
      {"EM", cr0::kEm, 0, 0, kVaddps, kRuns},
      {"EM", cr0::kEm, 0, 0, kPaddb, kUd},
      {"EM", cr0::kEm, 0, 0, kEmms, kUd},
      {"EM", cr0::kEm, 0, 0, kFadd, kNm},
      {"EM", cr0::kEm, 0, 0, kFnstsw, kNm},
      {"EM", cr0::kEm, 0, 0, kFwait, kRuns},
      {"EM", cr0::kEm, 0, 0, kFxsave, kNm},
      {"EM", cr0::kEm, 0, 0, kXsave, kRuns},
      {"EM", cr0::kEm, 0, 0, kPopcnt, kRuns},
      {"EM", cr0::kEm, 0, 0, kCrc32, kRuns},
      {"EM", cr0::kEm, 0, 0, kMovnti, kRuns},
      {"TS", cr0::kTs, 0, 0, kAddps, kNm},
      {"TS", cr0::kTs, 0, 0, kMovups, kNm},
      {"TS", cr0::kTs, 0, 0, kVaddps, kNm},
      {"TS", cr0::kTs, 0, 0, kVzeroupper, kNm},
      {"TS", cr0::kTs, 0, 0, kPaddb, kNm},
      {"TS", cr0::kTs, 0, 0, kFninit, kNm},
      {"TS with MP", cr0::kTs, 0, 0, kFwait, kNm},
      {"TS", cr0::kTs, 0, 0, kFxsave, kNm},
      {"TS", cr0::kTs, 0, 0, kXsave, kNm},
      {"TS", cr0::kTs, 0, 0, kAndn, kRuns},
      {"TS", cr0::kTs, 0, 0, kMfence, kRuns},
      {"EM and TS", cr0::kEm | cr0::kTs, 0, 0, kAddps, kUd},
      {"EM and TS", cr0::kEm | cr0::kTs, 0, 0, kPaddb, kUd},
      {"no OSFXSR", 0, cr4::kOsfxsr, 0, kAddps, kUd},
      {"no OSFXSR", 0, cr4::kOsfxsr, 0, kVaddps, kRuns},
      {"no OSFXSR", 0, cr4::kOsfxsr, 0, kPaddb, kRuns},
      {"no OSFXSR", 0, cr4::kOsfxsr, 0, kCvtps2pi, kUd},
      {"no OSFXSR", 0, cr4::kOsfxsr, 0, kMfence, kRuns},
      {"no OSXSAVE", 0, cr4::kOsxsave, 0, kVaddps, kUd},
      {"no OSXSAVE", 0, cr4::kOsxsave, 0, kXsave, kUd},
      {"no OSXSAVE", 0, cr4::kOsxsave, 0, kAndn, kRuns},
      {"no OSXSAVE, TS", cr0::kTs, cr4::kOsxsave, 0, kVaddps, kUd},
      {"no AVX in XCR0", 0, 0, xcr0::kAvx, kVaddps, kUd},
      {"no AVX in XCR0", 0, 0, xcr0::kAvx, kVzeroupper, kUd},
      {"no AVX in XCR0", 0, 0, xcr0::kAvx, kAddps, kRuns},
      {"no SSE in XCR0", 0, 0, xcr0::kSse | xcr0::kAvx, kAddps, kRuns},
  };
  for (const GateCase& c : cases) {
    bench.enter_long_mode();
    bench.v.state.cr0 |= c.cr0_set;
    bench.v.state.cr4 &= ~c.cr4_clear;
    bench.v.state.xcr0 &= ~c.xcr0_clear;
    EXPECT_EQ(outcome(c.bytes), c.vector) << c.condition << ": " << testing::PrintToString(c.bytes);
  }
}

TEST_F(Gates, FwaitHeedsTsOnlyWithMp) {
  bench.v.state.cr0 = (bench.v.state.cr0 & ~cr0::kMp) | cr0::kTs;
  EXPECT_EQ(outcome(kFwait), kRuns);
}

TEST_F(Gates, VexIsUndefinedOutsideProtectedMode) {
  if (!bench.model.has(Feature::kAvx2)) GTEST_SKIP() << "the host lacks AVX2";
  interp::Insn vaddps, andn;
  ASSERT_TRUE(bench.bind(kVaddps, vaddps));
  ASSERT_TRUE(bench.bind(kAndn, andn));
  bench.v.state.cr0 &= ~cr0::kPe;
  EXPECT_EQ(bench.run(vaddps), Flow::kFault);
  EXPECT_EQ(bench.v.fault.vector, kUd);
  EXPECT_EQ(bench.run(andn), Flow::kFault);
  EXPECT_EQ(bench.v.fault.vector, kUd);
  bench.enter_protected_mode();
  bench.v.state.rflags |= rflags::kVm;
  EXPECT_EQ(bench.run(vaddps), Flow::kFault);
  EXPECT_EQ(bench.v.fault.vector, kUd);
}

TEST_F(Gates, APendingX87ExceptionComesBeforeTheNextWaitingInstruction) {
  XsaveArea& x = bench.v.state.xsave;
  x.fcw() = 0x37b;                                  // ZE unmasked
  ASSERT_EQ(bench.run({0xd9, 0xe8}), Flow::kNext);  // fld1
  ASSERT_EQ(bench.run({0xd9, 0xee}), Flow::kNext);  // fldz
  ASSERT_EQ(bench.run({0xd8, 0xf9}), Flow::kNext);  // fdivr st0, st1: 1 / 0 raises ZE, reported later
  EXPECT_EQ(x.fsw() & 0x8084, 0x8084);
  EXPECT_EQ(x.fop(), 0x0f9);
  EXPECT_EQ(x.fip(), NativeBench::kRip);
  const VcpuState before = bench.v.state;

  for (const auto& bytes : {kFadd, kFwait, kPaddb, kEmms, std::vector<u8>{0xd9, 0x2b} /* fldcw [rbx] */})
    EXPECT_EQ(outcome(bytes), kMf) << testing::PrintToString(bytes);
  EXPECT_TRUE(bench.v.state.xsave == before.xsave);
  for (const auto& bytes : {kFnstsw, kAddps, kFxsave, std::vector<u8>{0xd9, 0x3b} /* fnstcw [rbx] */})
    EXPECT_EQ(outcome(bytes), kRuns) << testing::PrintToString(bytes);

  ASSERT_EQ(bench.run({0xdb, 0xe2}), Flow::kNext);  // fnclex
  EXPECT_EQ(outcome(kFadd), kRuns);
}

TEST_F(Gates, UnmaskingAFlagThatIsSetMakesItPending) {
  bench.v.state.xsave.fsw() = 0x04;
  bench.poke(kData, std::array<u8, 2>{0x7b, 0x03});
  bench.v.state.gpr[kRbx] = kData;
  ASSERT_EQ(bench.run({0xd9, 0x2b}), Flow::kNext);  // fldcw [rbx]
  EXPECT_EQ(bench.v.state.xsave.fsw(), 0x8084);
  EXPECT_EQ(outcome(kFwait), kMf);
}

TEST_F(Gates, UnmaskedSimdExceptionsAreXmOrUd) {
  XsaveArea& x = bench.v.state.xsave;
  const auto divide = [&] {
    x.mxcsr() = 0x1f80 & ~0x200u;  // ZE unmasked
    const std::array<u8, 16> ones = {0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f, 0, 0, 0x80, 0x3f};
    std::copy(ones.begin(), ones.end(), x.xmm(0));
    std::fill_n(x.xmm(1), 16, u8{0});
    return outcome({0x0f, 0x5e, 0xc1});  // divps xmm0, xmm1
  };
  EXPECT_EQ(divide(), kXm);
  EXPECT_EQ(x.mxcsr(), (0x1f80u & ~0x200u) | 4);
  EXPECT_EQ(x.xmm(0)[3], 0x3f);
  bench.v.state.cr4 &= ~cr4::kOsxmmexcpt;
  EXPECT_EQ(divide(), kUd);
  x.mxcsr() = 0x1f80;
  EXPECT_EQ(outcome({0x0f, 0x5e, 0xc1}), kRuns);
}

TEST(Features, WhatTheModelLacksIsUndefined) {
  // x86-64-v2 has no AVX, BMI or LZCNT.
  NativeBench bench;
  auto model = CpuModel::create("x86-64-v2");
  ASSERT_TRUE(model.has_value());
  bench.model = std::move(*model);
  for (const auto& bytes : {kVaddps, kVzeroupper, kAndn}) {
    EXPECT_EQ(bench.run(bytes), Flow::kFault);
    EXPECT_EQ(bench.v.fault.vector, kUd);
  }
  // LZCNT's encoding is BSR's with a prefix that means nothing there.
  bench.v.state.gpr[kRcx] = 0x10;
  EXPECT_EQ(bench.run({0xf3, 0x0f, 0xbd, 0xc1}), Flow::kNext);
  EXPECT_EQ(bench.v.state.gpr[kRax], 4u);
  EXPECT_EQ(bench.run({0xf3, 0x0f, 0xbc, 0xc1}), Flow::kNext);
  EXPECT_EQ(bench.v.state.gpr[kRax], 4u);
}

}  // namespace
}  // namespace vellum::test
