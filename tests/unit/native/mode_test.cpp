// 16- and 32-bit code: what the encodings mean there, and the images that depend on the mode.
#include <cstring>

#include "bench.hpp"

namespace vellum::test {
namespace {

using interp::Flow;
using namespace x86;

class Modes : public testing::Test {
 protected:
  u32 word(u64 address) {
    u32 value;
    std::memcpy(&value, bench.peek(address, 4).data(), 4);
    return value;
  }
  u16 half(u64 address) { return static_cast<u16>(word(address)); }
  NativeBench bench;
};

TEST_F(Modes, VexRegisterBitsAndWAreIgnoredIn32BitCode) {
  if (!bench.model.has(Feature::kAvx2)) GTEST_SKIP() << "the host lacks AVX2";
  bench.enter_protected_mode();
  VcpuState& s = bench.v.state;
  s.gpr[kRcx] = 0x1122334455667788;
  // vmovd xmm0, ecx with VEX.W = 1: W is ignored.
  ASSERT_EQ(bench.run({0xc4, 0xe1, 0xf9, 0x6e, 0xc1}), Flow::kNext);
  u64 low;
  std::memcpy(&low, s.xsave.xmm(0), 8);
  EXPECT_EQ(low, 0x55667788u);
  // vpaddd xmm2, xmm0, xmm0 with vvvv's top bit (register 8) ignored.
  ASSERT_EQ(bench.run({0xc4, 0xe1, 0x39, 0xfe, 0xd0}), Flow::kNext);
  std::memcpy(&low, s.xsave.xmm(2), 4);
  EXPECT_EQ(static_cast<u32>(low), 2 * 0x55667788u);
  // vcvtsi2sd xmm1, xmm1, ecx with W = 1 converts 32 bits.
  ASSERT_EQ(bench.run({0xc4, 0xe1, 0xf3, 0x2a, 0xc9}), Flow::kNext);
  double converted;
  std::memcpy(&converted, s.xsave.xmm(1), 8);
  EXPECT_EQ(converted, double{0x55667788});
}

TEST_F(Modes, SixteenBitAddressesWrapAndSegmentsApply) {
  bench.enter_real_mode();
  VcpuState& s = bench.v.state;
  s.segment(Seg::kDs).base = 0x20000;
  s.segment(Seg::kEs).base = 0x30000;
  s.gpr[kRbx] = 0xfff0;
  s.gpr[kRsi] = 0x30;
  bench.poke(0x20020, std::array<u8, 4>{1, 2, 3, 4});
  bench.poke(0x30020, std::array<u8, 4>{5, 6, 7, 8});
  ASSERT_EQ(bench.run({0x66, 0x0f, 0x6e, 0x00}), Flow::kNext);  // movd xmm0, [bx+si]
  EXPECT_EQ(s.xsave.xmm(0)[0], 1);
  ASSERT_EQ(bench.run({0x26, 0x66, 0x0f, 0xfe, 0x48, 0x10}), Flow::kNext);  // paddd xmm1, es:[bx+si+16]
  ASSERT_EQ(bench.run({0x26, 0x0f, 0x10, 0x10}), Flow::kNext);              // movups xmm2, es:[bx+si]
  EXPECT_EQ(s.xsave.xmm(2)[0], 5);
}

TEST_F(Modes, TheEnvironmentHasItsFourFormats) {
  // fild word [ebx] leaves pointers behind; then FNSTENV in the mode's two sizes.
  bench.enter_protected_mode();
  VcpuState& s = bench.v.state;
  s.gpr[kRbx] = 0x2000;
  ASSERT_EQ(bench.run({0xdf, 0x03}), Flow::kNext);
  ASSERT_EQ(bench.run({0xd9, 0x73, 0x40}), Flow::kNext);  // fnstenv [ebx+0x40]
  EXPECT_EQ(word(0x2040), 0xffff037fu);
  EXPECT_EQ(word(0x2044), 0xffff3800u);
  EXPECT_EQ(half(0x2048), 0x7fff);  // register 7 is zero (tag 1), the rest is empty
  EXPECT_EQ(word(0x204c), NativeBench::kRip);
  EXPECT_EQ(word(0x2054), 0x2000u);
  EXPECT_EQ(s.xsave.fcw(), 0x37f);
  ASSERT_EQ(bench.run({0x66, 0xd9, 0x73, 0x40}), Flow::kNext);
  EXPECT_EQ(half(0x2042), 0x3800);
  EXPECT_EQ(half(0x2046), NativeBench::kRip);
  EXPECT_EQ(half(0x204a), 0x2000);

  bench.enter_real_mode();
  s.segment(Seg::kCs).base = 0x40000;
  s.segment(Seg::kDs).base = 0x20000;
  s.gpr[kRbx] = 0x100;
  ASSERT_EQ(bench.run({0xdf, 0x07}), Flow::kNext);  // fild word [bx]
  ASSERT_EQ(bench.run({0xd9, 0x77, 0x40}), Flow::kNext);
  EXPECT_EQ(half(0x20146), 0x1000);  // linear 0x41000
  EXPECT_EQ(half(0x20148), 0x4000);
  EXPECT_EQ(half(0x2014a), 0x0100);  // linear 0x20100
  EXPECT_EQ(half(0x2014c), 0x2000);
  ASSERT_EQ(bench.run({0x66, 0xd9, 0x77, 0x40}), Flow::kNext);
  EXPECT_EQ(word(0x2014c), 0xffff1000u);
  EXPECT_EQ(word(0x20150), 0x4000u);
}

TEST_F(Modes, EnvironmentsComeBackAsTheyWent) {
  for (const bool real : {false, true}) {
    for (const bool prefix : {false, true}) {
      if (real) {
        bench.enter_real_mode();
      } else {
        bench.enter_protected_mode();
      }
      VcpuState& s = bench.v.state;
      s.gpr[kRbx] = 0x2000;
      const auto run = [&](std::vector<u8> bytes) {
        if (prefix) bytes.insert(bytes.begin(), 0x66);
        return bench.run(bytes);
      };
      const u8 disp = real ? 0x47 : 0x43;               // [bx+…], [ebx+…]
      ASSERT_EQ(bench.run({0xd9, 0xeb}), Flow::kNext);  // fldpi
      ASSERT_EQ(bench.run({0xd9, 0xee}), Flow::kNext);  // fldz
      s.xsave.fdp() = 0x1234;
      const XsaveArea before = s.xsave;
      ASSERT_EQ(run({0xdd, static_cast<u8>(disp | 6 << 3), 0x40}), Flow::kNext);  // fnsave
      EXPECT_EQ(s.xsave.ftw(), 0);
      EXPECT_EQ(s.xsave.fsw(), 0);
      ASSERT_EQ(run({0xdd, static_cast<u8>(disp | 4 << 3), 0x40}), Flow::kNext);  // frstor
      EXPECT_TRUE(s.xsave == before) << real << prefix;
    }
  }
}

TEST_F(Modes, RandomNumbersAreDeterminedUnderAVirtualClock) {
  if (!bench.model.has(Feature::kRdrand)) GTEST_SKIP() << "the host lacks RDRAND";
  const auto draw = [](u64 retired) {
    NativeBench b;
    VirtualClock clock;
    Vcpu v(0, b.space, b.board, clock, b.model, b.hazards);
    interp::Insn insn;
    EXPECT_TRUE(b.bind(std::array<u8, 4>{0x48, 0x0f, 0xc7, 0xf0}, insn));  // rdrand rax
    v.retired = retired;
    EXPECT_EQ(insn.run(v, insn), Flow::kNext);
    EXPECT_EQ(v.state.rflags & rflags::kArithmetic, rflags::kCf);
    return v.state.gpr[kRax];
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST_F(Modes, DroppedThunksAreMadeAnew) {
  interp::Insn insn;
  ASSERT_TRUE(bench.bind(std::array<u8, 4>{0x66, 0x0f, 0xfe, 0xc1}, insn));
  ASSERT_EQ(bench.run(insn), Flow::kNext);
  bench.native.clear();
  EXPECT_FALSE(bench.native.full());
  ASSERT_EQ(bench.run({0x66, 0x0f, 0xfe, 0xc1}), Flow::kNext);
}

}  // namespace
}  // namespace vellum::test
