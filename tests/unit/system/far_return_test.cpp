// RETF (SDM vol. 2B RET): the same level, outer levels, real mode, 64-bit mode.
#include "cpu/system/transfers.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::Seg;

struct FarReturn : testing::Test {
  std::string ret(unsigned size = 4, u16 extra = 0) {
    return b.run([&] { return far_return(b.v, size, extra); });
  }
  Bench b;
};

TEST_F(FarReturn, RealMode) {
  b.enter_real();
  b.put_on_stack(2, {0x1234, 0x2000});
  EXPECT_EQ(ret(2, 6), "ok");
  EXPECT_EQ(b.v.state.rip, 0x1234u);
  EXPECT_EQ(b.seg(Seg::kCs).base, 0x20000u);
  EXPECT_EQ(b.rsp(), 0x8006u);
  b.put_on_stack(4, {0x10000, 0x2000});
  EXPECT_EQ(ret(4), "#GP(0x0)");
  b.rsp() = 0xfffd;
  EXPECT_EQ(ret(4), "#SS(0x0)");
}

TEST_F(FarReturn, SameLevel) {
  b.enter_protected(0);
  b.put_on_stack(4, {0x12345678, kCode0 | 0xabcd0000});
  EXPECT_EQ(ret(4, 8), "ok");
  EXPECT_EQ(b.v.state.rip, 0x12345678u);
  EXPECT_EQ(b.rsp(), Bench::kStack0 + 8);
}

TEST_F(FarReturn, OuterLevelPopsItsStackAndDropsSegments) {
  b.enter_protected(0);
  b.seg(Seg::kEs) = x86::parse_descriptor(kData3, b.descriptor(kData3));
  b.seg(Seg::kFs) = x86::parse_descriptor(kConforming0, b.descriptor(kConforming0));
  b.put_on_stack(4, {0x1000, kCode3 | 3, 0xaaaa, 0xbbbb, Bench::kStack3 - 0x20, kData3 | 3});
  EXPECT_EQ(ret(4, 8), "ok");
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.selector(Seg::kCs), kCode3 | 3);
  EXPECT_EQ(b.rsp(), Bench::kStack3 - 0x18) << "parameters released on the outer stack too";
  EXPECT_FALSE(b.seg(Seg::kDs).usable()) << "DPL 0 data must not reach level 3";
  EXPECT_EQ(b.selector(Seg::kDs), 0);
  EXPECT_EQ(b.selector(Seg::kEs), kData3);
  EXPECT_EQ(b.selector(Seg::kFs), kConforming0) << "conforming code may stay";
}

TEST_F(FarReturn, SixteenBitOuterStackLoadsSpOnly) {
  b.enter_protected(0);
  b.set_descriptor(kFree, ar::kPresent | ar::kData | ar::dpl(3), 0, 0xffff);
  b.rsp() = 0x20000;
  b.put_on_stack(4, {0x1000, kCode3 | 3, 0xdead8000, kFree | 3});
  EXPECT_EQ(ret(4), "ok");
  EXPECT_EQ(b.rsp(), 0x18000u) << "the upper half stays the inner stack's";
}

TEST_F(FarReturn, CodeSegmentChecks) {
  b.enter_protected(0);
  const auto with_cs = [&](u16 cs) {
    b.rsp() = Bench::kStack0;
    b.put_on_stack(4, {0x1000, cs, Bench::kStack3, kData3 | 3});
    return ret();
  };
  EXPECT_EQ(with_cs(0), "#GP(0x0)");
  EXPECT_EQ(with_cs(0x100), "#GP(0x100)");
  EXPECT_EQ(with_cs(kData0), "#GP(0x10)");
  EXPECT_EQ(with_cs(kCode0 | 3), "#GP(0x8)") << "DPL is not the RPL";
  EXPECT_EQ(with_cs(kConforming3 | 1), "#GP(0x90)") << "conforming, DPL above the RPL";
  EXPECT_EQ(with_cs(kAbsentCode), "#NP(0xa8)");
  EXPECT_EQ(with_cs(kConforming0 | 3), "ok");
  b.enter_protected(3);
  b.put_on_stack(4, {0x1000, kCode0});
  EXPECT_EQ(ret(), "#GP(0x8)") << "never inwards";
}

TEST_F(FarReturn, OuterStackSegmentChecks) {
  b.enter_protected(0);
  const auto with_ss = [&](u16 ss) {
    b.rsp() = Bench::kStack0;
    b.put_on_stack(4, {0x1000, kCode3 | 3, Bench::kStack3, ss});
    return ret();
  };
  EXPECT_EQ(with_ss(0), "#GP(0x0)");
  EXPECT_EQ(with_ss(0x100 | 3), "#GP(0x100)");
  EXPECT_EQ(with_ss(kData3), "#GP(0x20)") << "RPL differs";
  EXPECT_EQ(with_ss(kData0 | 3), "#GP(0x10)") << "DPL differs";
  EXPECT_EQ(with_ss(kCode3 | 3), "#GP(0x18)");
  b.set_descriptor(kFree, ar::kData | ar::k32 | ar::dpl(3), 0, 0xffffffff);
  EXPECT_EQ(with_ss(kFree | 3), "#SS(0xe0)");
}

TEST_F(FarReturn, TargetBeyondTheLimit) {
  b.enter_protected(0);
  b.put_on_stack(4, {0x1000, kSmallCode});
  EXPECT_EQ(ret(), "#GP(0x0)");
}

TEST_F(FarReturn, LongMode) {
  b.enter_long(0);
  b.put_on_stack(8, {0xffffffff81000000, kCode64});
  EXPECT_EQ(ret(8), "ok");
  EXPECT_EQ(b.v.state.rip, 0xffffffff81000000u);
  EXPECT_EQ(b.rsp(), Bench::kStack0) << "the same level pops no stack";
  b.put_on_stack(8, {0x0000800000000000, kCode64});
  EXPECT_EQ(ret(8), "#GP(0x0)");
  b.enter_long(0);
  b.put_on_stack(8, {0x1000, kCode64User | 3, 0x7ffffffff000, kData3 | 3});
  EXPECT_EQ(ret(8), "ok");
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.rsp(), 0x7ffffffff000u);
}

TEST_F(FarReturn, LongModeToCompatibilityMode) {
  b.enter_long(0);
  b.put_on_stack(8, {0x1000, kCode3 | 3, 0xffffffff00008000, kData3 | 3});
  EXPECT_EQ(ret(8), "ok");
  EXPECT_EQ(b.v.state.code_bytes(), 4u);
  EXPECT_EQ(b.rsp(), 0x8000u);
  b.enter_long(0);
  b.put_on_stack(8, {0x100001000, kCode3 | 3, 0x8000, kData3 | 3});
  EXPECT_EQ(ret(8), "#GP(0x0)") << "beyond 4 GiB";
}

TEST_F(FarReturn, NullStackOnReturnTo64BitCode) {
  b.enter_long(0);
  b.set_descriptor(kFree, ar::kPresent | ar::kCode | ar::k64 | ar::dpl(1), 0, 0);
  b.put_on_stack(8, {0x1000, kFree | 1, 0x8000, 0});
  EXPECT_EQ(ret(8), "ok");
  EXPECT_EQ(b.v.state.cpl, 1);
  b.enter_long(0);
  b.put_on_stack(8, {0x1000, kCode64User | 3, 0x8000, 0});
  EXPECT_EQ(ret(8), "#GP(0x0)") << "not for level 3";
  b.enter_long(0);
  b.put_on_stack(8, {0x1000, kCode1 | 1, 0x8000, 1});
  EXPECT_EQ(ret(8), "#GP(0x0)") << "not for compatibility mode";
}

}  // namespace
}  // namespace vellum::test
