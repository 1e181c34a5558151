// IRET in all its forms (SDM vol. 2A IRET/IRETD/IRETQ). Task returns are in task_switch_test.cpp.
#include "cpu/system/transfers.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::Seg;
namespace flag = x86::rflags;

struct InterruptReturn : testing::Test {
  std::string iret(unsigned size = 4) {
    return b.run([&] { return interrupt_return(b.v, size); });
  }
  u64 flags() { return b.v.state.rflags; }
  Bench b;
};

constexpr u64 kEverything = 0xffffffff;

TEST_F(InterruptReturn, RealMode) {
  b.enter_real();
  b.put_on_stack(2, {0x1234, 0x2000, 0xffff});
  EXPECT_EQ(iret(2), "ok");
  EXPECT_EQ(b.v.state.rip, 0x1234u);
  EXPECT_EQ(b.seg(Seg::kCs).base, 0x20000u);
  EXPECT_EQ(flags(), 0x7fd7u);
  EXPECT_EQ(b.rsp(), 0x8000u);
  b.v.state.rflags = flag::kFixed1 | flag::kVif | flag::kVip;
  b.put_on_stack(4, {0x1234, 0x2000, kEverything & ~(flag::kVif | flag::kVip)});
  EXPECT_EQ(iret(4), "ok");
  EXPECT_EQ(flags(), flag::kAll & ~flag::kVm) << "VIF and VIP stay, VM can't be set";
  b.put_on_stack(4, {0x10000, 0x2000, 0});
  EXPECT_EQ(iret(4), "#GP(0x0)");
}

TEST_F(InterruptReturn, SameLevelInProtectedMode) {
  b.enter_protected(0);
  b.put_on_stack(4, {0x12345678, kCode0, kEverything & ~(flag::kVm | flag::kNt)});
  EXPECT_EQ(iret(), "ok");
  EXPECT_EQ(b.v.state.rip, 0x12345678u);
  EXPECT_EQ(b.rsp(), Bench::kStack0);
  EXPECT_EQ(flags(), flag::kAll & ~(flag::kVm | flag::kNt));
}

TEST_F(InterruptReturn, SixteenBitImageLeavesTheUpperFlags) {
  b.enter_protected(0);
  b.v.state.rflags |= flag::kAc | flag::kId | flag::kVif | flag::kRf;
  b.put_on_stack(2, {0x1234, kCode0, flag::kIf | flag::kCf});
  EXPECT_EQ(iret(2), "ok");
  EXPECT_EQ(flags(), flag::kFixed1 | flag::kIf | flag::kCf | flag::kAc | flag::kId | flag::kVif);
}

TEST_F(InterruptReturn, UserCodeChangesNeitherIoplNorIf) {
  b.enter_protected(3);
  b.v.state.rflags |= flag::kIf;
  b.put_on_stack(4, {0x1000, kCode3 | 3, flag::kIopl | flag::kVif | flag::kVip | flag::kCf | flag::kVm});
  EXPECT_EQ(iret(), "ok");
  EXPECT_EQ(flags(), flag::kFixed1 | flag::kIf | flag::kCf);
}

TEST_F(InterruptReturn, IfFollowsIopl) {
  b.enter_protected(3);
  b.v.state.rflags |= flag::kIf | flag::kIopl;
  b.put_on_stack(4, {0x1000, kCode3 | 3, 0});
  EXPECT_EQ(iret(), "ok");
  EXPECT_EQ(flags(), flag::kFixed1 | flag::kIopl);
}

TEST_F(InterruptReturn, OuterLevel) {
  b.enter_protected(0);
  b.put_on_stack(4, {0x1000, kCode3 | 3, flag::kIf, Bench::kStack3, kData3 | 3});
  EXPECT_EQ(iret(), "ok");
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.rsp(), Bench::kStack3);
  EXPECT_EQ(b.selector(Seg::kSs), kData3 | 3);
  EXPECT_EQ(b.selector(Seg::kDs), 0) << "dropped";
  EXPECT_EQ(flags(), flag::kFixed1 | flag::kIf);
}

TEST_F(InterruptReturn, OuterLevelWithASixteenBitStackLoadsSpOnly) {
  b.enter_protected(0);
  b.set_descriptor(kFree, ar::kPresent | ar::kData | ar::dpl(3), 0, 0xffff);
  b.put_on_stack(4, {0x1000, kCode3 | 3, 0, 0x12348000, kFree | 3});
  EXPECT_EQ(iret(), "ok");
  EXPECT_EQ(b.rsp(), ((Bench::kStack0 - 20) & 0xffff0000) | 0x8000);
}

TEST_F(InterruptReturn, Checks) {
  b.enter_protected(0);
  const auto with = [&](u64 cs, u64 ss) {
    b.rsp() = Bench::kStack0;
    b.put_on_stack(4, {0x1000, cs, 0, Bench::kStack3, ss});
    return iret();
  };
  EXPECT_EQ(with(0, 0), "#GP(0x0)");
  EXPECT_EQ(with(kData0, 0), "#GP(0x10)");
  EXPECT_EQ(with(kAbsentCode, 0), "#NP(0xa8)");
  EXPECT_EQ(with(kCode0 | 3, 0), "#GP(0x8)");
  EXPECT_EQ(with(kSmallCode, 0), "#GP(0x0)");
  EXPECT_EQ(with(kCode3 | 3, 0), "#GP(0x0)");
  EXPECT_EQ(with(kCode3 | 3, kData0 | 3), "#GP(0x10)");
  EXPECT_EQ(with(kCode3 | 3, kData3), "#GP(0x20)");
  EXPECT_EQ(with(kCode1 | 1, kData3 | 3), "#GP(0x20)");
  EXPECT_EQ(with(kCode1 | 1, kData1 | 1), "ok");
}

TEST_F(InterruptReturn, LongModeAlwaysPopsTheStack) {
  b.enter_long(0);
  b.put_on_stack(8, {0xffffffff81000000, kCode64, flag::kIf, 0xffff888000001000, 0});
  EXPECT_EQ(iret(8), "ok");
  EXPECT_EQ(b.v.state.rip, 0xffffffff81000000u);
  EXPECT_EQ(b.rsp(), 0xffff888000001000u);
  EXPECT_EQ(b.selector(Seg::kSs), 0);
  EXPECT_FALSE(b.seg(Seg::kSs).usable());
  EXPECT_EQ(b.seg(Seg::kDs).selector, kData0) << "nothing dropped at the same level";
}

TEST_F(InterruptReturn, LongModeToUser) {
  b.enter_long(0);
  b.seg(Seg::kFs) = {.base = 0x7f0000000000};
  b.put_on_stack(8, {0x7fff00001000, kCode64User | 3, flag::kIf, 0x7ffffffff000, kData3 | 3});
  EXPECT_EQ(iret(8), "ok");
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.v.state.rip, 0x7fff00001000u);
  EXPECT_EQ(b.rsp(), 0x7ffffffff000u);
  EXPECT_EQ(b.seg(Seg::kFs).base, 0x7f0000000000u) << "a null FS keeps its base";
}

TEST_F(InterruptReturn, LongModeToCompatibilityMode) {
  b.enter_long(0);
  b.put_on_stack(8, {0x1000, kCode3 | 3, 0, 0x123456789, kData3 | 3});
  EXPECT_EQ(iret(8), "ok");
  EXPECT_EQ(b.v.state.code_bytes(), 4u);
  EXPECT_EQ(b.rsp(), 0x23456789u);
}

TEST_F(InterruptReturn, CompatibilityModeAtTheSameLevelPopsThreeItems) {
  b.enter_compatibility(3);
  b.put_on_stack(4, {0x1000, kCode3 | 3, 0});
  EXPECT_EQ(iret(4), "ok");
  EXPECT_EQ(b.rsp(), Bench::kStack3);
}

TEST_F(InterruptReturn, LongModeChecks) {
  b.enter_long(0);
  const auto with = [&](u64 rip, u64 cs, u64 ss) {
    b.enter_long(0);
    b.put_on_stack(8, {rip, cs, 0, 0x8000, ss});
    return iret(8);
  };
  EXPECT_EQ(with(0x0000800000000000, kCode64User | 3, kData3 | 3), "#GP(0x0)");
  EXPECT_EQ(with(0x1000, kCode64User | 3, 3), "#GP(0x0)") << "null SS for level 3";
  EXPECT_EQ(with(0x1000, kCode0, 0), "#GP(0x0)") << "null SS for compatibility mode";
  EXPECT_EQ(with(0x1000, kBadCode64, kData0), "#GP(0xd0)");
  EXPECT_EQ(with(0x1000, kCode64, kData3 | 3), "#GP(0x20)");
  EXPECT_EQ(with(0x1000, kCode64, kAbsentData), "#SS(0xb0)");
  EXPECT_EQ(with(0x100000000, kCode3 | 3, kData3 | 3), "#GP(0x0)");
  b.enter_long(0);
  b.v.state.rflags |= flag::kNt;
  EXPECT_EQ(iret(8), "#GP(0x0)") << "NT in IA-32e mode";
}

TEST_F(InterruptReturn, LongModeIgnoresVm) {
  b.enter_long(0);
  b.put_on_stack(8, {0x1000, kCode64, flag::kVm, 0x8000, 0});
  EXPECT_EQ(iret(8), "ok");
  EXPECT_EQ(flags() & flag::kVm, 0u);
  b.enter_compatibility(0);
  b.put_on_stack(4, {0x1000, kCode0, flag::kVm, 0x8000, kData0});
  EXPECT_EQ(iret(4), "ok");
  EXPECT_EQ(flags() & flag::kVm, 0u);
}

TEST_F(InterruptReturn, UnblocksNmisEvenWhenItFaults) {
  b.enter_protected(0);
  b.v.state.nmi_blocked = true;
  b.put_on_stack(4, {0x1000, kCode0, 0});
  EXPECT_EQ(iret(), "ok");
  EXPECT_FALSE(b.v.state.nmi_blocked);
  b.v.state.nmi_blocked = true;
  b.put_on_stack(4, {0x1000, 0, 0});
  EXPECT_FALSE(interrupt_return(b.v, 4));
  EXPECT_FALSE(b.v.state.nmi_blocked);
}

TEST_F(InterruptReturn, LoadsAcForAlignmentChecks) {
  b.enter_long(0);
  b.v.state.cr0 |= x86::cr0::kAm;
  b.put_on_stack(8, {0x1000, kCode64User | 3, flag::kAc, 0x28000, kData3 | 3});
  EXPECT_EQ(iret(8), "ok");
  u32 value = 0;
  EXPECT_FALSE(b.v.mmu.read<u32>(0x28001, value)) << "the MMU knows of the new CPL and AC";
  EXPECT_EQ(b.v.fault.vector, x86::kAc);
}

}  // namespace
}  // namespace vellum::test
