// Loading segment registers and checking references (SDM vol. 3A ch. 3, 5; vol. 2 MOV, LLDT, LTR, LAR, LSL,
// VERR).
#include "cpu/system/segments.hpp"

#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::Seg;

struct Segments : testing::Test {
  std::string load(Seg s, u16 selector) {
    return b.run([&] { return load_segment(b.v, s, selector); });
  }
  std::string address(Seg s, u64 offset, unsigned size, Access access) {
    return b.run([&] { return legacy_address(b.v, s, offset, size, access, linear); });
  }
  Bench b;
  u64 linear = 0;
};

TEST_F(Segments, RealModeLoadChangesBaseAndSelectorOnly) {
  b.enter_real();
  b.seg(Seg::kDs).limit = 0xffffffff;  // as left by a visit to protected mode
  EXPECT_EQ(load(Seg::kDs, 0x1234), "ok");
  EXPECT_EQ(b.seg(Seg::kDs).base, 0x12340u);
  EXPECT_EQ(b.selector(Seg::kDs), 0x1234);
  EXPECT_EQ(b.seg(Seg::kDs).limit, 0xffffffffu);
}

TEST_F(Segments, RealModeLoadRevivesANullRegister) {
  b.enter_real();
  b.seg(Seg::kDs) = {};
  EXPECT_EQ(load(Seg::kDs, 0x1234), "ok");
  EXPECT_EQ(b.seg(Seg::kDs).limit, 0xffffu);
  EXPECT_TRUE(b.seg(Seg::kDs).usable());
}

TEST_F(Segments, V86LoadMakesARealModeSegment) {
  b.enter_v86();
  EXPECT_EQ(load(Seg::kDs, 0x2345), "ok");
  EXPECT_EQ(b.seg(Seg::kDs),
            (x86::Segment{.selector = 0x2345, .attributes = 0xf3, .limit = 0xffff, .base = 0x23450}));
}

TEST_F(Segments, ProtectedDataLoads) {
  b.enter_protected(0);
  EXPECT_EQ(load(Seg::kDs, kData0), "ok");
  EXPECT_EQ(load(Seg::kDs, kData3), "ok");
  EXPECT_EQ(load(Seg::kDs, kData3 | 3), "ok");
  EXPECT_EQ(load(Seg::kDs, kCode0), "ok") << "readable code";
  EXPECT_EQ(load(Seg::kDs, kReadOnly), "ok");
  EXPECT_EQ(load(Seg::kEs, 0), "ok");
  EXPECT_EQ(load(Seg::kEs, 3), "ok") << "a null selector of any RPL";
  EXPECT_FALSE(b.seg(Seg::kEs).usable());
  EXPECT_EQ(load(Seg::kDs, kExecuteOnly), "#GP(0x98)");
  EXPECT_EQ(load(Seg::kDs, kTssA), "#GP(0x60)");
  EXPECT_EQ(load(Seg::kDs, kAbsentData), "#NP(0xb0)");
  EXPECT_EQ(load(Seg::kDs, kData0 | 3), "#GP(0x10)") << "RPL above DPL";
  EXPECT_EQ(load(Seg::kDs, 0x100), "#GP(0x100)") << "beyond the GDT's limit";
}

TEST_F(Segments, ProtectedDataLoadsFromUserCode) {
  b.enter_protected(3);
  EXPECT_EQ(load(Seg::kDs, kData3), "ok");
  EXPECT_EQ(load(Seg::kDs, kConforming0), "ok") << "conforming code is readable from any level";
  EXPECT_EQ(load(Seg::kDs, kData0), "#GP(0x10)");
  EXPECT_EQ(load(Seg::kDs, kCode0), "#GP(0x8)");
}

TEST_F(Segments, ProtectedStackLoads) {
  b.enter_protected(0);
  EXPECT_EQ(load(Seg::kSs, kData0), "ok");
  EXPECT_EQ(load(Seg::kSs, 0), "#GP(0x0)");
  EXPECT_EQ(load(Seg::kSs, kData0 | 3), "#GP(0x10)");
  EXPECT_EQ(load(Seg::kSs, kData3), "#GP(0x20)");
  EXPECT_EQ(load(Seg::kSs, kReadOnly), "#GP(0xa0)");
  EXPECT_EQ(load(Seg::kSs, kCode0), "#GP(0x8)");
  EXPECT_EQ(load(Seg::kSs, kAbsentData), "#SS(0xb0)");
}

TEST_F(Segments, NullStackOnlyIn64BitModeInsideTheKernel) {
  b.enter_long(0);
  EXPECT_EQ(load(Seg::kSs, 0), "ok");
  EXPECT_EQ(load(Seg::kSs, 3), "#GP(0x0)");
  b.enter_long(3);
  EXPECT_EQ(load(Seg::kSs, 0), "#GP(0x0)");
  EXPECT_EQ(load(Seg::kSs, 3), "#GP(0x0)");
  b.enter_compatibility(0);
  EXPECT_EQ(load(Seg::kSs, 0), "#GP(0x0)");
}

TEST_F(Segments, LoadSetsTheAccessedBitInTheTable) {
  b.enter_protected(0);
  b.set_descriptor(kFree, ar::kPresent | 0x12 | ar::k32, 0x1234, 0xffff);
  EXPECT_EQ(load(Seg::kDs, kFree), "ok");
  EXPECT_EQ(b.descriptor_type(kFree), 0x13u);
  EXPECT_EQ(b.seg(Seg::kDs).base, 0x1234u);
  EXPECT_EQ(b.seg(Seg::kDs).type(), 3u);
}

TEST_F(Segments, ReadOnlyGdtPageFaultsOnlyToSetTheAccessedBit) {
  b.enter_long(3);
  b.set_descriptor(kFree, ar::kPresent | 0x12 | ar::k32 | ar::dpl(3), 0, 0xffff);
  b.map_page(Bench::kGdt, 1);  // supervisor, read-only
  EXPECT_EQ(load(Seg::kDs, kData3 | 3), "ok") << "accessed already; implicit supervisor read";
  EXPECT_EQ(load(Seg::kDs, kFree | 3), "#PF(0x3)");
  EXPECT_EQ(b.v.fault.address, Bench::kGdt + kFree + 5);
}

TEST_F(Segments, LastDescriptorOfTheTable) {
  b.enter_protected(0);
  b.v.state.gdtr.limit = kData0 + 7;
  EXPECT_EQ(load(Seg::kDs, kData0), "ok");
  b.v.state.gdtr.limit = kData0 + 6;
  EXPECT_EQ(load(Seg::kDs, kData0), "#GP(0x10)");
}

TEST_F(Segments, LocalDescriptorTable) {
  b.enter_protected(0);
  b.write(Bench::kLdtBase + 8, 8, b.descriptor(kData0));
  EXPECT_EQ(load(Seg::kDs, 0x0c), "ok");
  EXPECT_EQ(load(Seg::kDs, 0x104), "#GP(0x104)") << "beyond the LDT's limit";
  b.v.state.ldtr = {};
  EXPECT_EQ(load(Seg::kDs, 0x0c), "#GP(0xc)") << "no LDT";
}

TEST_F(Segments, LoadOfFsIn64BitModeReplacesTheBase) {
  b.enter_long(3);
  b.seg(Seg::kFs).base = 0x7f0012345678;
  EXPECT_EQ(load(Seg::kFs, kData3 | 3), "ok");
  EXPECT_EQ(b.seg(Seg::kFs).base, 0u);
  b.seg(Seg::kFs).base = 0x7f0012345678;
  EXPECT_EQ(load(Seg::kFs, 0), "ok");
  EXPECT_EQ(b.seg(Seg::kFs).base, 0u);
}

TEST_F(Segments, Lldt) {
  const auto lldt = [&](u16 s) { return b.run([&] { return load_ldtr(b.v, s); }); };
  b.enter_protected(0);
  EXPECT_EQ(lldt(kLdt), "ok");
  EXPECT_EQ(b.v.state.ldtr.base, Bench::kLdtBase);
  EXPECT_EQ(lldt(0), "ok");
  EXPECT_FALSE(b.v.state.ldtr.present());
  EXPECT_EQ(lldt(kLdt | 4), "#GP(0x84)");
  EXPECT_EQ(lldt(kData0), "#GP(0x10)");
  b.set_system(kFree, x86::kLdt, 0, 0, 0xff, false);
  EXPECT_EQ(lldt(kFree), "#NP(0xe0)");
  b.enter_protected(3);
  EXPECT_EQ(lldt(kLdt), "#GP(0x0)");
  b.enter_real();
  EXPECT_EQ(lldt(kLdt), "#UD");
}

TEST_F(Segments, LldtIn64BitMode) {
  const auto lldt = [&](u16 s) { return b.run([&] { return load_ldtr(b.v, s); }); };
  b.enter_long(0);
  b.set_system(kLdt, x86::kLdt, 0, 0xffff888000123000, 0xff);
  EXPECT_EQ(lldt(kLdt), "ok");
  EXPECT_EQ(b.v.state.ldtr.base, 0xffff888000123000u);
  b.set_system(kLdt, x86::kLdt, 0, 0x0fff888000123000, 0xff);
  EXPECT_EQ(lldt(kLdt), "#GP(0x80)") << "base not canonical";
  b.set_system(kLdt, x86::kLdt, 0, 0, 0xff);
  b.write(Bench::kGdt + kLdt + 13, 1, 0x12);
  EXPECT_EQ(lldt(kLdt), "#GP(0x80)") << "upper half has a type";
  b.set_system(0xf8, x86::kLdt, 0, 0, 0xff);
  EXPECT_EQ(lldt(0xf8), "#GP(0xf8)") << "upper half beyond the limit";
}

TEST_F(Segments, Ltr) {
  const auto ltr = [&](u16 s) { return b.run([&] { return load_tr(b.v, s); }); };
  b.enter_protected(0);
  EXPECT_EQ(ltr(kTssB), "ok");
  EXPECT_EQ(b.descriptor_type(kTssB), x86::kTss32Busy);
  EXPECT_EQ(b.v.state.tr.type(), x86::kTss32Busy);
  EXPECT_EQ(ltr(kTssB), "#GP(0x70)") << "busy now";
  EXPECT_EQ(ltr(0), "#GP(0x0)");
  EXPECT_EQ(ltr(0xc), "#GP(0xc)");
  EXPECT_EQ(ltr(kLdt), "#GP(0x80)");
  b.set_system(kFree, x86::kTss16Available, 0, 0, 0x2b);
  EXPECT_EQ(ltr(kFree), "ok");
  b.set_system(kFree, x86::kTss32Available, 0, 0, 0x67, false);
  EXPECT_EQ(ltr(kFree), "#NP(0xe0)");
  b.enter_protected(3);
  EXPECT_EQ(ltr(kTssB), "#GP(0x0)");
  b.enter_v86();
  EXPECT_EQ(ltr(kTssB), "#UD");
}

TEST_F(Segments, LtrIn64BitMode) {
  const auto ltr = [&](u16 s) { return b.run([&] { return load_tr(b.v, s); }); };
  b.enter_long(0);
  b.set_system(kTssB, x86::kTss32Available, 0, 0xffffffff81230000, 0x67);
  EXPECT_EQ(ltr(kTssB), "ok");
  EXPECT_EQ(b.v.state.tr.base, 0xffffffff81230000u);
  b.set_system(kTssB, x86::kTss16Available, 0, 0, 0x67);
  EXPECT_EQ(ltr(kTssB), "#GP(0x70)");
}

TEST_F(Segments, LimitOfAnExpandUpSegment) {
  b.enter_protected(0);
  b.seg(Seg::kDs).limit = 0xfff;
  b.seg(Seg::kDs).base = 0x5000;
  EXPECT_EQ(address(Seg::kDs, 0xffc, 4, Access::kRead), "ok");
  EXPECT_EQ(linear, 0x5ffcu);
  EXPECT_EQ(address(Seg::kDs, 0xffd, 4, Access::kRead), "#GP(0x0)");
  EXPECT_EQ(address(Seg::kDs, 0xffffffff, 4, Access::kRead), "#GP(0x0)") << "wraps";
  b.seg(Seg::kSs).limit = 0xfff;
  EXPECT_EQ(address(Seg::kSs, 0x1000, 1, Access::kWrite), "#SS(0x0)");
}

TEST_F(Segments, LimitOfAnExpandDownSegment) {
  b.enter_protected(0);
  ASSERT_EQ(load(Seg::kDs, kExpandDown), "ok");
  EXPECT_EQ(address(Seg::kDs, 0xfff, 1, Access::kRead), "#GP(0x0)");
  EXPECT_EQ(address(Seg::kDs, 0x1000, 4, Access::kRead), "ok");
  EXPECT_EQ(address(Seg::kDs, 0xfffffffc, 4, Access::kRead), "ok");
  EXPECT_EQ(address(Seg::kDs, 0xfffffffd, 4, Access::kRead), "#GP(0x0)");
  b.seg(Seg::kDs).attributes &= ~0x4000;  // B clear: the upper bound is 64 KiB
  EXPECT_EQ(address(Seg::kDs, 0xfffc, 4, Access::kRead), "ok");
  EXPECT_EQ(address(Seg::kDs, 0xfffd, 4, Access::kRead), "#GP(0x0)");
}

TEST_F(Segments, TypesOfReferences) {
  b.enter_protected(0);
  EXPECT_EQ(address(Seg::kCs, 0, 1, Access::kRead), "ok");
  EXPECT_EQ(address(Seg::kCs, 0, 1, Access::kExecute), "ok");
  EXPECT_EQ(address(Seg::kCs, 0, 1, Access::kWrite), "#GP(0x0)");
  EXPECT_EQ(address(Seg::kDs, 0, 1, Access::kExecute), "#GP(0x0)");
  ASSERT_EQ(load(Seg::kDs, kReadOnly), "ok");
  EXPECT_EQ(address(Seg::kDs, 0, 1, Access::kWrite), "#GP(0x0)");
  b.seg(Seg::kCs).attributes &= ~2;
  EXPECT_EQ(address(Seg::kCs, 0, 1, Access::kRead), "#GP(0x0)") << "execute-only";
  ASSERT_EQ(load(Seg::kDs, 0), "ok");
  EXPECT_EQ(address(Seg::kDs, 0, 1, Access::kRead), "#GP(0x0)") << "null";
}

TEST_F(Segments, RealModeHasLimitsButNoTypes) {
  b.enter_real();
  EXPECT_EQ(address(Seg::kDs, 0xfffe, 2, Access::kRead), "ok");
  EXPECT_EQ(linear, 0x1fffeu);
  EXPECT_EQ(address(Seg::kDs, 0xffff, 2, Access::kRead), "#GP(0x0)");
  EXPECT_EQ(address(Seg::kSs, 0xffff, 2, Access::kWrite), "#SS(0x0)");
  b.seg(Seg::kCs).attributes = 0x9b;
  EXPECT_EQ(address(Seg::kCs, 0, 2, Access::kWrite), "ok");
}

TEST_F(Segments, LinearAddressWrapsAt4GiB) {
  b.enter_protected(0);
  b.seg(Seg::kDs).base = 0xfffff000;
  EXPECT_EQ(address(Seg::kDs, 0x2000, 4, Access::kRead), "ok");
  EXPECT_EQ(linear, 0x1000u);
}

TEST_F(Segments, LinearAddressIn64BitMode) {
  b.enter_long(0);
  const auto at = [&](Seg s, u64 offset, unsigned size) {
    return b.run([&] { return linear_address(b.v, s, offset, size, Access::kRead, linear); });
  };
  b.seg(Seg::kDs) = {};
  b.seg(Seg::kGs).base = 0xffff888000000000;
  EXPECT_EQ(at(Seg::kDs, 0x1234, 8), "ok") << "DS doesn't matter";
  EXPECT_EQ(at(Seg::kGs, 0x10, 8), "ok");
  EXPECT_EQ(linear, 0xffff888000000010u);
  EXPECT_EQ(at(Seg::kDs, 0x0000800000000000, 1), "#GP(0x0)");
  EXPECT_EQ(at(Seg::kDs, 0x00007ffffffffffc, 8), "#GP(0x0)");
  EXPECT_EQ(at(Seg::kSs, 0x0000800000000000, 1), "#SS(0x0)");
}

struct Query : Segments {
  std::string ask(SelectorQuery q, u16 selector) {
    bool accessible = false;
    const std::string text = b.run([&] { return query_selector(b.v, q, selector, accessible, result); });
    return text == "ok" ? (accessible ? "yes" : "no") : text;
  }
  u32 result = 0;
};

TEST_F(Query, VerrAndVerw) {
  b.enter_protected(3);
  EXPECT_EQ(ask(SelectorQuery::kVerr, kData3 | 3), "yes");
  EXPECT_EQ(ask(SelectorQuery::kVerw, kData3 | 3), "yes");
  EXPECT_EQ(ask(SelectorQuery::kVerr, kData0), "no");
  EXPECT_EQ(ask(SelectorQuery::kVerr, kConforming0 | 3), "yes");
  EXPECT_EQ(ask(SelectorQuery::kVerw, kCode3 | 3), "no");
  EXPECT_EQ(ask(SelectorQuery::kVerr, 0), "no");
  EXPECT_EQ(ask(SelectorQuery::kVerr, kTssA), "no");
  EXPECT_EQ(ask(SelectorQuery::kVerr, 0x1000), "no");
  b.enter_protected(0);
  EXPECT_EQ(ask(SelectorQuery::kVerr, kExecuteOnly), "no");
  EXPECT_EQ(ask(SelectorQuery::kVerw, kReadOnly), "no");
  EXPECT_EQ(ask(SelectorQuery::kVerr, kData0 | 3), "no") << "RPL counts";
}

TEST_F(Query, LarAndLsl) {
  b.enter_protected(0);
  EXPECT_EQ(ask(SelectorQuery::kLar, kData0), "yes");
  EXPECT_EQ(result, 0x00c09300u);
  EXPECT_EQ(ask(SelectorQuery::kLsl, kData0), "yes");
  EXPECT_EQ(result, 0xffffffffu);
  EXPECT_EQ(ask(SelectorQuery::kLsl, kTssA), "yes");
  EXPECT_EQ(result, 0xffu);
  EXPECT_EQ(ask(SelectorQuery::kLar, kAbsentData), "yes") << "presence isn't asked";
  b.enter_protected(3);
  EXPECT_EQ(ask(SelectorQuery::kLar, kData0), "no");
  EXPECT_EQ(ask(SelectorQuery::kLsl, kConforming0), "yes");
}

struct SystemTypeCase {
  unsigned type;
  const char *lar, *lsl, *lar_long, *lsl_long;
};
struct QueryTypes : testing::TestWithParam<SystemTypeCase> {};

TEST_P(QueryTypes, AsTheManualsTable) {
  const SystemTypeCase& c = GetParam();
  const auto ask = [](Bench& b, SelectorQuery q) -> std::string {
    bool accessible = false;
    u32 result = 0;
    EXPECT_TRUE(query_selector(b.v, q, kFree, accessible, result));
    return accessible ? "yes" : "no";
  };
  Bench legacy;
  legacy.enter_protected(0);
  legacy.set_system(kFree, c.type, 0, 0, 0xff);
  Bench ia32e;
  ia32e.enter_long(0);
  ia32e.set_system(kFree, c.type, 0, 0, 0xff);
  EXPECT_EQ(ask(legacy, SelectorQuery::kLar), c.lar);
  EXPECT_EQ(ask(legacy, SelectorQuery::kLsl), c.lsl);
  EXPECT_EQ(ask(ia32e, SelectorQuery::kLar), c.lar_long);
  EXPECT_EQ(ask(ia32e, SelectorQuery::kLsl), c.lsl_long);
}

INSTANTIATE_TEST_SUITE_P(
    Sdm, QueryTypes,
    testing::Values(SystemTypeCase{0, "no", "no", "no", "no"}, SystemTypeCase{1, "yes", "yes", "no", "no"},
                    SystemTypeCase{2, "yes", "yes", "yes", "yes"},
                    SystemTypeCase{3, "yes", "yes", "no", "no"}, SystemTypeCase{4, "yes", "no", "no", "no"},
                    SystemTypeCase{5, "yes", "no", "no", "no"}, SystemTypeCase{6, "no", "no", "no", "no"},
                    SystemTypeCase{7, "no", "no", "no", "no"}, SystemTypeCase{8, "no", "no", "no", "no"},
                    SystemTypeCase{9, "yes", "yes", "yes", "yes"}, SystemTypeCase{10, "no", "no", "no", "no"},
                    SystemTypeCase{11, "yes", "yes", "yes", "yes"},
                    SystemTypeCase{12, "yes", "no", "yes", "no"}, SystemTypeCase{13, "no", "no", "no", "no"},
                    SystemTypeCase{14, "no", "no", "no", "no"}, SystemTypeCase{15, "no", "no", "no", "no"}));

TEST_F(Query, OutsideProtectedMode) {
  b.enter_real();
  EXPECT_EQ(ask(SelectorQuery::kVerr, kData0), "#UD");
  b.enter_v86();
  EXPECT_EQ(ask(SelectorQuery::kLar, kData0), "#UD");
}

}  // namespace
}  // namespace vellum::test
