// JMP and CALL far: code segments, call gates, task gates (SDM vol. 2A JMP, CALL; vol. 3A §5.8).
#include "cpu/system/transfers.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::Seg;

struct FarTransfer : testing::Test {
  std::string jump(u16 selector, u64 offset, unsigned size = 4) {
    return b.run([&] { return far_jump(b.v, selector, offset, size); });
  }
  std::string call(u16 selector, u64 offset, unsigned size = 4) {
    return b.run([&] { return far_call(b.v, selector, offset, size); });
  }
  Bench b;
};

TEST_F(FarTransfer, RealMode) {
  b.enter_real();
  EXPECT_EQ(jump(0x2000, 0x1234, 2), "ok");
  EXPECT_EQ(b.seg(Seg::kCs).base, 0x20000u);
  EXPECT_EQ(b.v.state.rip, 0x1234u);
  EXPECT_EQ(call(0x3000, 0x10, 2), "ok");
  EXPECT_EQ(b.items(0x10000 + 0x8000 - 4, 2, 2), (std::vector<u64>{0x1234, 0x2000}));
  EXPECT_EQ(b.rsp(), 0x7ffcu);
  EXPECT_EQ(jump(0x2000, 0x10000, 4), "#GP(0x0)") << "beyond the limit";
  EXPECT_EQ(call(0x2000, 0x10000, 4), "#GP(0x0)");
  b.rsp() = 1;
  EXPECT_EQ(call(0x2000, 0, 2), "#SS(0x0)");
}

TEST_F(FarTransfer, FromRealToProtectedToLongMode) {
  b.enter_real();
  b.v.state.cr0 |= x86::cr0::kPe;
  EXPECT_EQ(jump(kCode0, 0x1000, 4), "ok");
  EXPECT_EQ(b.v.state.code_bytes(), 4u);
  EXPECT_EQ(b.v.state.cpl, 0);
  b.enter_compatibility(0);
  EXPECT_EQ(jump(kCode64, 0x2000, 4), "ok");
  EXPECT_TRUE(b.v.state.mode_64());
  EXPECT_EQ(b.v.state.rip, 0x2000u);
}

TEST_F(FarTransfer, V86) {
  b.enter_v86();
  EXPECT_EQ(jump(0x1800, 0x20, 2), "ok");
  EXPECT_EQ(b.seg(Seg::kCs),
            (x86::Segment{.selector = 0x1800, .attributes = 0xf3, .limit = 0xffff, .base = 0x18000}));
  EXPECT_EQ(call(0x1800, 0x40, 2), "ok");
  EXPECT_EQ(b.items(0x10020 + 0x8000 - 4, 2, 2), (std::vector<u64>{0x20, 0x1800}));
}

TEST_F(FarTransfer, ToACodeSegment) {
  b.enter_protected(0);
  EXPECT_EQ(jump(kCode0, 0x12345678), "ok");
  EXPECT_EQ(b.v.state.rip, 0x12345678u);
  EXPECT_EQ(jump(kCode16, 0x12345678, 2), "ok");
  EXPECT_EQ(b.v.state.rip, 0x5678u) << "16-bit operand size";
  EXPECT_EQ(jump(kConforming0, 0), "ok");
  EXPECT_EQ(jump(0, 0), "#GP(0x0)");
  EXPECT_EQ(jump(3, 0), "#GP(0x0)");
  EXPECT_EQ(jump(0x100, 0), "#GP(0x100)");
  EXPECT_EQ(jump(kData0, 0), "#GP(0x10)");
  EXPECT_EQ(jump(kCode3 | 3, 0), "#GP(0x18)") << "no jump outwards";
  EXPECT_EQ(jump(kCode0 | 3, 0), "#GP(0x8)") << "RPL above CPL";
  EXPECT_EQ(jump(kConforming3 | 3, 0), "#GP(0x90)") << "conforming, DPL above CPL";
  EXPECT_EQ(jump(kAbsentCode, 0), "#NP(0xa8)");
  EXPECT_EQ(jump(kSmallCode, 0x1000), "#GP(0x0)");
  EXPECT_EQ(jump(kSmallCode, 0xfff), "ok");
}

TEST_F(FarTransfer, ConformingCodeKeepsTheCpl) {
  b.enter_protected(3);
  EXPECT_EQ(jump(kConforming0, 0x500), "ok");
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.selector(Seg::kCs), kConforming0 | 3);
  EXPECT_EQ(jump(kCode0, 0), "#GP(0x8)");
  EXPECT_EQ(jump(kCode0 | 3, 0), "#GP(0x8)");
}

TEST_F(FarTransfer, CallPushesByOperandSize) {
  b.enter_protected(0);
  EXPECT_EQ(call(kCode0, 0x500), "ok");
  EXPECT_EQ(b.items(Bench::kStack0 - 8, 4, 2), (std::vector<u64>{Bench::kStart, kCode0}));
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 8);
  EXPECT_EQ(call(kCode0, 0x600, 2), "ok");
  EXPECT_EQ(b.items(Bench::kStack0 - 12, 2, 2), (std::vector<u64>{0x500, kCode0}));
}

TEST_F(FarTransfer, FailedCallPushesNothing) {
  b.enter_protected(0);
  b.enable_paging();
  b.map_page(Bench::kStack0 - 0x1000, 0);
  b.rsp() = Bench::kStack0 + 4;
  b.write(Bench::kStack0, 4, 0x11111111);
  EXPECT_EQ(call(kCode0, 0x500), "#PF(0x2)");
  EXPECT_EQ(b.v.fault.address, Bench::kStack0 - 4);
  EXPECT_EQ(b.read(Bench::kStack0, 4), 0x11111111u) << "the first of the two pushes would have fitted";
  EXPECT_EQ(call(kSmallCode, 0x1000), "#GP(0x0)");
}

TEST_F(FarTransfer, LongModeTargets) {
  b.enter_long(0);
  EXPECT_EQ(jump(kCode64, 0xffffffff81000000, 8), "ok");
  EXPECT_EQ(b.v.state.rip, 0xffffffff81000000u);
  EXPECT_EQ(jump(kCode64, 0x8000000000000000, 8), "#GP(0x0)");
  EXPECT_EQ(jump(kCode0, 0x100000000, 8), "#GP(0x0)") << "beyond a compatibility-mode limit";
  EXPECT_EQ(jump(kBadCode64, 0, 8), "#GP(0xd0)") << "L and D";
  EXPECT_EQ(call(kCode64, 0x1000, 8), "ok");
  EXPECT_EQ(b.items(Bench::kStack0 - 16, 8, 2), (std::vector<u64>{0xffffffff81000000, kCode64}));
  EXPECT_EQ(call(kCode0, 0x2000, 4), "ok");
  EXPECT_EQ(b.items(Bench::kStack0 - 24, 4, 2), (std::vector<u64>{0x1000, kCode64}));
  EXPECT_EQ(b.v.state.code_bytes(), 4u);
}

TEST_F(FarTransfer, LBitMeansNothingOutsideIa32e) {
  b.enter_protected(0);
  EXPECT_EQ(jump(kBadCode64, 0x10), "ok");
  EXPECT_FALSE(b.v.state.mode_64());
}

// --- Call gates ------------------------------------------------------------------------------------------

TEST_F(FarTransfer, CallGateInwardSwitchesStackAndCopiesParameters) {
  b.enter_protected(3);
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode0, 0x30000, 2);
  b.put_on_stack(4, {0xaaaa, 0xbbbb});
  EXPECT_EQ(call(kFree | 3, 0x99999999), "ok");
  EXPECT_EQ(b.v.state.cpl, 0);
  EXPECT_EQ(b.v.state.rip, 0x30000u);
  EXPECT_EQ(b.selector(Seg::kCs), kCode0);
  EXPECT_EQ(b.selector(Seg::kSs), kData0);
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 24);
  EXPECT_EQ(b.items(b.rsp(), 4, 6),
            (std::vector<u64>{Bench::kStart, kCode3 | 3, 0xaaaa, 0xbbbb, Bench::kStack3 - 8, kData3 | 3}));
}

TEST_F(FarTransfer, SixteenBitCallGateInward) {
  b.enter_protected(3);
  b.set_call_gate(kFree, x86::kCallGate16, 3, kCode0, 0x12345678, 1);
  b.v.state.rip = 0x1234;
  b.put_on_stack(2, {0xcccc});
  EXPECT_EQ(call(kFree | 3, 0), "ok");
  EXPECT_EQ(b.v.state.rip, 0x5678u);
  EXPECT_EQ(b.items(Bench::kStack0 - 10, 2, 5),
            (std::vector<u64>{0x1234, kCode3 | 3, 0xcccc, (Bench::kStack3 - 2) & 0xffff, kData3 | 3}));
}

TEST_F(FarTransfer, CallGateToAnIntermediateLevel) {
  b.enter_protected(3);
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode1, 0x30000);
  EXPECT_EQ(call(kFree | 3, 0), "ok");
  EXPECT_EQ(b.v.state.cpl, 1);
  EXPECT_EQ(b.selector(Seg::kCs), kCode1 | 1);
  EXPECT_EQ(b.selector(Seg::kSs), kData1 | 1);
  EXPECT_EQ(b.rsp(), Bench::kStack1 - 16);
}

TEST_F(FarTransfer, CallGateFromASixteenBitTss) {
  b.enter_protected(3);
  b.v.state.tr = x86::parse_descriptor(kTssB, 0x0000830050000000 | 0x2b);
  b.v.state.tr.base = Bench::kTssBBase;
  b.write(Bench::kTssBBase + 2, 2, 0x8000);
  b.write(Bench::kTssBBase + 4, 2, kStack16);
  b.set_call_gate(kFree, x86::kCallGate16, 3, kCode0, 0x1000);
  EXPECT_EQ(call(kFree | 3, 0), "ok");
  EXPECT_EQ(b.selector(Seg::kSs), kStack16);
  EXPECT_EQ(b.rsp() & 0xffff, 0x8000u - 8);
  EXPECT_EQ(b.read(0x10000 + 0x8000 - 2, 2), kData3 | 3u);
}

TEST_F(FarTransfer, CallGateAtTheSameLevel) {
  b.enter_protected(0);
  b.set_call_gate(kFree, x86::kCallGate32, 0, kCode0, 0x30000, 5);
  EXPECT_EQ(call(kFree, 0, 2), "ok");
  EXPECT_EQ(b.items(Bench::kStack0 - 8, 4, 2), (std::vector<u64>{Bench::kStart, kCode0}))
      << "the gate's size";
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 8) << "no parameters copied";
  EXPECT_EQ(jump(kFree, 0), "ok");
  EXPECT_EQ(b.v.state.rip, 0x30000u);
}

TEST_F(FarTransfer, CallGateToConformingCodeKeepsLevelAndStack) {
  b.enter_protected(3);
  b.set_call_gate(kFree, x86::kCallGate32, 3, kConforming0, 0x30000);
  EXPECT_EQ(call(kFree | 3, 0), "ok");
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.rsp(), Bench::kStack3 - 8);
  EXPECT_EQ(jump(kFree | 3, 0), "ok");
}

TEST_F(FarTransfer, CallGateChecks) {
  b.enter_protected(3);
  b.set_call_gate(kFree, x86::kCallGate32, 0, kCode0, 0x30000);
  EXPECT_EQ(call(kFree | 3, 0), "#GP(0xe0)") << "DPL below CPL";
  EXPECT_EQ(call(kFree, 0), "#GP(0xe0)");
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode0, 0x30000);
  EXPECT_EQ(jump(kFree | 3, 0), "#GP(0x8)") << "a jump can't change the level";
  b.set_call_gate(kFree, x86::kCallGate32, 3, 0, 0);
  EXPECT_EQ(call(kFree | 3, 0), "#GP(0x0)");
  b.set_call_gate(kFree, x86::kCallGate32, 3, kData0, 0);
  EXPECT_EQ(call(kFree | 3, 0), "#GP(0x10)");
  b.set_call_gate(kFree, x86::kCallGate32, 3, 0x100, 0);
  EXPECT_EQ(call(kFree | 3, 0), "#GP(0x100)");
  b.set_call_gate(kFree, x86::kCallGate32, 3, kAbsentCode, 0);
  EXPECT_EQ(call(kFree | 3, 0), "#NP(0xa8)");
  b.set_call_gate(kFree, x86::kCallGate32, 3, kSmallCode, 0x1000);
  EXPECT_EQ(call(kFree | 3, 0), "#GP(0x0)");
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode0, 0);
  b.write(Bench::kGdt + kFree + 5, 1, 0x6c);
  EXPECT_EQ(call(kFree | 3, 0), "#NP(0xe0)") << "the gate itself";
  b.set_call_gate(kFree, x86::kInterruptGate32, 3, kCode0, 0);
  EXPECT_EQ(call(kFree | 3, 0), "#GP(0xe0)") << "no such gate in the GDT";
}

TEST_F(FarTransfer, CallGateRplAndInwardFromLevelZero) {
  b.enter_protected(0);
  b.set_call_gate(kFree, x86::kCallGate32, 0, kCode0, 0);
  EXPECT_EQ(call(kFree | 3, 0), "#GP(0xe0)") << "RPL above the gate's DPL";
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode3, 0);
  EXPECT_EQ(call(kFree, 0), "#GP(0x18)") << "never outwards";
}

TEST_F(FarTransfer, CallGateInnerStackChecks) {
  b.enter_protected(3);
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode0, 0x30000);
  const auto with_ss0 = [&](u16 ss) {
    b.write(Bench::kTssABase + 8, 2, ss);
    return call(kFree | 3, 0);
  };
  EXPECT_EQ(with_ss0(0), "#TS(0x0)");
  EXPECT_EQ(with_ss0(0x100), "#TS(0x100)");
  EXPECT_EQ(with_ss0(kData0 | 3), "#TS(0x10)");
  EXPECT_EQ(with_ss0(kData3), "#TS(0x20)");
  EXPECT_EQ(with_ss0(kReadOnly), "#TS(0xa0)");
  EXPECT_EQ(with_ss0(kAbsentData), "#SS(0xb0)");
  b.write(Bench::kTssABase + 4, 4, 12);
  EXPECT_EQ(with_ss0(kSmallStack), "#SS(0xc8)") << "no room for 16 bytes";
  b.v.state.tr.limit = 8;
  EXPECT_EQ(with_ss0(kData0), "#TS(0x60)");
}

TEST_F(FarTransfer, CallGateParametersAreReadWithTheCallersRights) {
  b.enter_protected(3);
  b.enable_paging();
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode0, 0x30000, 1);
  b.map_page(Bench::kStack3, 3);  // supervisor only
  b.rsp() = Bench::kStack3;
  EXPECT_EQ(call(kFree | 3, 0), "#PF(0x5)");
}

TEST_F(FarTransfer, CallGatePushesAreSupervisorWrites) {
  b.enter_protected(3);
  b.enable_paging();
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode0, 0x30000);
  b.map_page(Bench::kStack0 - 0x1000, 3);  // supervisor only
  EXPECT_EQ(call(kFree | 3, 0), "ok");
  b.enter_protected(3);
  b.map_page(Bench::kStack0 - 0x1000, 0);
  EXPECT_EQ(call(kFree | 3, 0), "#PF(0x2)");
  EXPECT_EQ(b.v.fault.address, Bench::kStack0 - 4);
}

TEST_F(FarTransfer, SixtyFourBitCallGate) {
  b.enter_long(3);
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode64, 0xffffffff81000000, 7);
  EXPECT_EQ(call(kFree | 3, 0), "ok");
  EXPECT_EQ(b.v.state.cpl, 0);
  EXPECT_EQ(b.v.state.rip, 0xffffffff81000000u);
  EXPECT_EQ(b.selector(Seg::kSs), 0) << "a null SS whose RPL is the CPL";
  EXPECT_EQ(b.items(Bench::kStack0 - 32, 8, 4),
            (std::vector<u64>{Bench::kStart, kCode64User | 3, Bench::kStack3, kData3 | 3}));
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 32);
}

TEST_F(FarTransfer, SixtyFourBitCallGateFromCompatibilityMode) {
  b.enter_compatibility(3);
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode64, 0x30000);
  EXPECT_EQ(call(kFree | 3, 0), "ok");
  EXPECT_TRUE(b.v.state.mode_64());
  EXPECT_EQ(b.items(Bench::kStack0 - 32, 8, 4),
            (std::vector<u64>{Bench::kStart, kCode3 | 3, Bench::kStack3, kData3 | 3}));
}

TEST_F(FarTransfer, SixtyFourBitCallGateChecks) {
  b.enter_long(0);
  b.set_call_gate(kFree, x86::kCallGate16, 0, kCode64, 0);
  EXPECT_EQ(call(kFree, 0), "#GP(0xe0)") << "no 16-bit gates";
  b.set_call_gate(kFree, x86::kCallGate32, 0, kCode0, 0);
  EXPECT_EQ(call(kFree, 0), "#GP(0x8)") << "to 64-bit code only";
  b.set_call_gate(kFree, x86::kCallGate32, 0, kCode64, 0x0000800000000000);
  EXPECT_EQ(call(kFree, 0), "#GP(0x0)");
  b.set_call_gate(kFree, x86::kCallGate32, 0, kCode64, 0);
  b.write(Bench::kGdt + kFree + 13, 1, 0x0c);
  EXPECT_EQ(call(kFree, 0), "#GP(0xe0)") << "upper half with a type";
  b.set_call_gate(0xf8, x86::kCallGate32, 0, kCode64, 0);
  EXPECT_EQ(call(0xf8, 0), "#GP(0xf8)") << "upper half beyond the limit";
  b.set_call_gate(kFree, x86::kTaskGate, 0, kTssB, 0);
  EXPECT_EQ(jump(kFree, 0), "#GP(0xe0)");
  EXPECT_EQ(jump(kTssB, 0), "#GP(0x70)") << "no task switches in IA-32e mode";
}

TEST_F(FarTransfer, SixtyFourBitCallGateNonCanonicalInnerStack) {
  b.enter_long(3);
  b.set_call_gate(kFree, x86::kCallGate32, 3, kCode64, 0x30000);
  b.write(Bench::kTssABase + 4, 8, 0x0000800000000008);
  EXPECT_EQ(call(kFree | 3, 0), "#SS(0x0)");
  b.v.state.tr.limit = 10;
  EXPECT_EQ(call(kFree | 3, 0), "#TS(0x60)");
}

}  // namespace
}  // namespace vellum::test
