// One event through the IVT or IDT (SDM vol. 2A INT n; vol. 3A ch. 6). Virtual-8086 mode:
// virtual_8086_test.cpp.
#include "cpu/system/events.hpp"
#include "cpu/system/transfers.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::EventKind;
using x86::Exception;
using x86::Seg;
namespace flag = x86::rflags;

constexpr Exception kUd{.vector = x86::kUd};
constexpr Exception kGp{.vector = x86::kGp, .has_error_code = true, .error_code = 0x1234};
constexpr Exception external(u8 vector) {
  return {.vector = vector, .kind = EventKind::kInterrupt};
}

struct Delivery : testing::Test {
  std::string deliver(const Exception& e) {
    return b.run([&] { return try_deliver(b.v, e); });
  }
  std::string software(u8 vector, EventKind kind = EventKind::kSoftwareInterrupt) {
    return b.run([&] { return software_interrupt(b.v, vector, kind); });
  }
  u64 flags() { return b.v.state.rflags; }
  Bench b;
};

TEST_F(Delivery, RealMode) {
  b.enter_real();
  b.write(0x21 * 4, 4, 0x30001234);
  b.v.state.rflags |= flag::kIf | flag::kTf | flag::kAc | flag::kCf;
  const u64 before = flags();
  EXPECT_EQ(software(0x21), "ok");
  EXPECT_EQ(b.v.state.rip, 0x1234u);
  EXPECT_EQ(b.seg(Seg::kCs).base, 0x30000u);
  EXPECT_EQ(flags(), flag::kFixed1 | flag::kCf);
  EXPECT_EQ(b.items(0x10000 + 0x8000 - 6, 2, 3), (std::vector<u64>{0x100, 0x1000, before & 0xffff}));
  EXPECT_EQ(b.rsp(), 0x7ffau);
}

TEST_F(Delivery, RealModePushesNoErrorCode) {
  b.enter_real();
  b.write(x86::kGp * 4, 4, 0x30001234);
  EXPECT_EQ(deliver(kGp), "ok");
  EXPECT_EQ(b.rsp(), 0x7ffau);
}

TEST_F(Delivery, RealModeTableLimitAndBase) {
  b.enter_real();
  b.v.state.idtr = {.base = 0x2000, .limit = 0x83};
  b.write(0x2000 + 0x20 * 4, 4, 0x40000010);
  EXPECT_EQ(deliver(external(0x20)), "ok");
  EXPECT_EQ(b.seg(Seg::kCs).base, 0x40000u);
  EXPECT_EQ(software(0x21), "#GP(0x0)");
  b.rsp() = 1;
  EXPECT_EQ(software(0x20), "#SS(0x0)");
}

TEST_F(Delivery, InterruptGateAtTheSameLevel) {
  b.enter_protected(0);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode0, Bench::kHandler);
  b.v.state.rflags |= flag::kIf | flag::kTf | flag::kNt | flag::kAc;
  const u64 before = flags();
  EXPECT_EQ(deliver(kUd), "ok");
  EXPECT_EQ(b.v.state.rip, Bench::kHandler);
  EXPECT_EQ(flags(), flag::kFixed1 | flag::kAc) << "IF, TF, NT, RF cleared";
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 12);
  EXPECT_EQ(b.items(b.rsp(), 4, 3), (std::vector<u64>{Bench::kStart, kCode0, before | flag::kRf}));
}

TEST_F(Delivery, TrapGateKeepsIf) {
  b.enter_protected(0);
  b.set_gate(0x80, x86::kTrapGate32, kCode0, Bench::kHandler);
  b.v.state.rflags |= flag::kIf;
  EXPECT_EQ(software(0x80), "ok");
  EXPECT_EQ(flags(), flag::kFixed1 | flag::kIf);
}

TEST_F(Delivery, ErrorCodeIsPushedLast) {
  b.enter_protected(0);
  b.set_gate(x86::kGp, x86::kInterruptGate32, kCode0, Bench::kHandler);
  EXPECT_EQ(deliver(kGp), "ok");
  EXPECT_EQ(b.read(b.rsp(), 4), 0x1234u);
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 16);
}

TEST_F(Delivery, InwardSwitchesStacks) {
  b.enter_protected(3);
  b.set_gate(x86::kGp, x86::kInterruptGate32, kCode0, Bench::kHandler);
  EXPECT_EQ(deliver(kGp), "ok");
  EXPECT_EQ(b.v.state.cpl, 0);
  EXPECT_EQ(b.selector(Seg::kCs), kCode0);
  EXPECT_EQ(b.selector(Seg::kSs), kData0);
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 24);
  EXPECT_EQ(b.items(b.rsp(), 4, 6),
            (std::vector<u64>{0x1234, Bench::kStart, kCode3 | 3, flag::kFixed1 | flag::kRf, Bench::kStack3,
                              kData3 | 3}));
  EXPECT_EQ(b.selector(Seg::kDs), kData3 | 3) << "data segments stay";
}

TEST_F(Delivery, SixteenBitGates) {
  b.enter_protected(3);
  b.set_gate(x86::kGp, x86::kInterruptGate16, kCode0, 0x12345678);
  EXPECT_EQ(deliver(kGp), "ok");
  EXPECT_EQ(b.v.state.rip, 0x5678u);
  EXPECT_EQ(b.items(Bench::kStack0 - 12, 2, 6),
            (std::vector<u64>{0x1234, Bench::kStart & 0xffff, kCode3 | 3, flag::kFixed1,
                              Bench::kStack3 & 0xffff, kData3 | 3}));
  b.enter_protected(0);
  b.set_gate(0x20, x86::kTrapGate16, kCode0, 0x100);
  EXPECT_EQ(deliver(external(0x20)), "ok");
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 6);
}

TEST_F(Delivery, LegacyGatesHaveNoInterruptStackTable) {
  b.enter_protected(0);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode0, Bench::kHandler, 0, 7);
  EXPECT_EQ(deliver(kUd), "ok");
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 12);
}

TEST_F(Delivery, ConformingHandlerKeepsLevelAndStack) {
  b.enter_protected(3);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kConforming0, Bench::kHandler);
  EXPECT_EQ(deliver(kUd), "ok");
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.selector(Seg::kCs), kConforming0 | 3);
  EXPECT_EQ(b.rsp(), Bench::kStack3 - 12);
}

TEST_F(Delivery, GateChecks) {
  b.enter_protected(0);
  const auto through = [&](unsigned type, u16 target, const Exception& e) {
    b.set_gate(e.vector, type, target, Bench::kHandler);
    return deliver(e);
  };
  EXPECT_EQ(through(x86::kInterruptGate32, 0, kUd), "#GP(0x1)") << "EXT";
  EXPECT_EQ(through(x86::kInterruptGate32, 0x100, kUd), "#GP(0x101)");
  EXPECT_EQ(through(x86::kInterruptGate32, kData0, kUd), "#GP(0x11)");
  EXPECT_EQ(through(x86::kInterruptGate32, kCode3 | 3, kUd), "#GP(0x19)") << "never outwards";
  EXPECT_EQ(through(x86::kInterruptGate32, kAbsentCode, kUd), "#NP(0xa9)");
  EXPECT_EQ(through(x86::kInterruptGate32, kSmallCode, kUd), "#GP(0x1)") << "handler beyond the limit";
  EXPECT_EQ(through(x86::kCallGate32, kCode0, kUd), "#GP(0x33)") << "IDT and EXT";
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode0, 0);
  b.write(Bench::kIdt + 8 * x86::kUd + 5, 1, 0x0e);
  EXPECT_EQ(deliver(kUd), "#NP(0x33)");
  b.v.state.idtr.limit = 8 * x86::kUd + 6;
  EXPECT_EQ(deliver(kUd), "#GP(0x33)");
}

TEST_F(Delivery, SoftwareInterruptsAreCheckedAgainstTheGatesDpl) {
  b.enter_protected(3);
  b.set_gate(0x80, x86::kInterruptGate32, kCode0, Bench::kHandler, 0);
  b.set_gate(x86::kDb, x86::kInterruptGate32, kCode0, Bench::kHandler, 0);
  EXPECT_EQ(software(0x80), "#GP(0x402)") << "no EXT";
  EXPECT_EQ(software(x86::kDb, EventKind::kPrivilegedSoftware), "ok") << "INT1 isn't checked";
  b.enter_protected(3);
  EXPECT_EQ(deliver(external(0x80)), "ok") << "nor are interrupts";
  b.enter_protected(3);
  b.set_gate(x86::kBp, x86::kInterruptGate32, kCode0, Bench::kHandler, 0);
  EXPECT_EQ(software(x86::kBp, EventKind::kSoftwareException), "#GP(0x1a)");
  b.set_gate(x86::kBp, x86::kInterruptGate32, kCode0, Bench::kHandler, 3);
  EXPECT_EQ(software(x86::kBp, EventKind::kSoftwareException), "ok");
}

TEST_F(Delivery, FaultsOfSoftwareInterruptsHaveNoExt) {
  b.enter_protected(3);
  b.set_gate(0x80, x86::kInterruptGate32, kAbsentCode, Bench::kHandler, 3);
  EXPECT_EQ(software(0x80), "#NP(0xa8)");
  b.set_gate(0x80, x86::kInterruptGate32, kCode0, Bench::kHandler, 3);
  b.write(Bench::kTssABase + 8, 2, kData3);
  EXPECT_EQ(software(0x80), "#TS(0x20)");
}

TEST_F(Delivery, InnerStackChecks) {
  b.enter_protected(3);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode0, Bench::kHandler);
  const auto with_ss0 = [&](u16 ss) {
    b.write(Bench::kTssABase + 8, 2, ss);
    return deliver(kUd);
  };
  EXPECT_EQ(with_ss0(0), "#TS(0x1)");
  EXPECT_EQ(with_ss0(0x100), "#TS(0x101)");
  EXPECT_EQ(with_ss0(kData0 | 3), "#TS(0x11)");
  EXPECT_EQ(with_ss0(kAbsentData), "#SS(0xb1)");
  b.write(Bench::kTssABase + 4, 4, 16);
  EXPECT_EQ(with_ss0(kSmallStack), "#SS(0xc9)") << "no room for 20 bytes";
  b.v.state.tr.limit = 8;
  EXPECT_EQ(with_ss0(kData0), "#TS(0x61)");
}

TEST_F(Delivery, NoRoomOnTheCurrentStack) {
  b.enter_protected(0);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode0, Bench::kHandler);
  b.seg(Seg::kSs) = x86::parse_descriptor(kSmallStack, b.descriptor(kSmallStack));
  b.rsp() = 8;
  EXPECT_EQ(deliver(kUd), "#SS(0x1)");
}

TEST_F(Delivery, FrameIsWrittenWholeOrNotAtAll) {
  b.enter_protected(0);
  b.enable_paging();
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode0, Bench::kHandler);
  b.map_page(Bench::kStack0 - 0x1000, 5);  // read-only
  b.rsp() = Bench::kStack0 + 4;
  b.write(Bench::kStack0, 4, 0x55555555);
  EXPECT_EQ(deliver(kUd), "#PF(0x3)") << "the second push; no EXT in a page fault's code";
  EXPECT_EQ(b.v.fault.address, Bench::kStack0 - 4);
  EXPECT_EQ(b.read(Bench::kStack0, 4), 0x55555555u);
}

TEST_F(Delivery, RfInThePushedFlags) {
  b.enter_protected(0);
  for (const u8 vector : {x86::kDb, x86::kUd})
    b.set_gate(vector, x86::kInterruptGate32, kCode0, Bench::kHandler);
  const auto pushed_rf = [&](const Exception& e) {
    b.rsp() = Bench::kStack0;
    EXPECT_EQ(deliver(e), "ok");
    return (b.read(Bench::kStack0 - 4, 4) & flag::kRf) != 0;
  };
  EXPECT_TRUE(pushed_rf(kUd));
  EXPECT_FALSE(pushed_rf({.vector = x86::kDb, .kind = EventKind::kFault, .address = 1}))
      << "instruction breakpoint";
  EXPECT_TRUE(pushed_rf({.vector = x86::kDb, .kind = EventKind::kFault, .address = x86::dr6::kBd}));
  EXPECT_FALSE(pushed_rf({.vector = x86::kDb, .kind = EventKind::kTrap, .address = x86::dr6::kBs}));
}

// --- IA-32e mode -----------------------------------------------------------------------------------------

TEST_F(Delivery, LongModeSameLevel) {
  b.enter_long(0);
  b.set_gate(x86::kGp, x86::kInterruptGate32, kCode64, 0xffffffff81234567);
  b.rsp() = Bench::kStack0 - 5;
  EXPECT_EQ(deliver(kGp), "ok");
  EXPECT_EQ(b.v.state.rip, 0xffffffff81234567u);
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 16 - 48) << "aligned to 16 before the pushes";
  EXPECT_EQ(b.items(b.rsp(), 8, 6),
            (std::vector<u64>{0x1234, Bench::kStart, kCode64, flag::kFixed1 | flag::kRf, Bench::kStack0 - 5,
                              kData0}));
  EXPECT_EQ(b.selector(Seg::kSs), kData0) << "unchanged";
}

TEST_F(Delivery, LongModeInward) {
  b.enter_long(3);
  b.set_gate(0x20, x86::kTrapGate32, kCode64, Bench::kHandler);
  b.v.state.rflags |= flag::kIf;
  EXPECT_EQ(deliver(external(0x20)), "ok");
  EXPECT_EQ(b.v.state.cpl, 0);
  EXPECT_EQ(b.selector(Seg::kSs), 0);
  EXPECT_EQ(b.seg(Seg::kSs).dpl(), 0u);
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 40);
  EXPECT_EQ(b.items(b.rsp(), 8, 5),
            (std::vector<u64>{Bench::kStart, kCode64User | 3, flag::kFixed1 | flag::kIf, Bench::kStack3,
                              kData3 | 3}));
  EXPECT_EQ(flags(), flag::kFixed1 | flag::kIf);
}

TEST_F(Delivery, LongModeFromCompatibilityMode) {
  b.enter_compatibility(3);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode64, Bench::kHandler);
  EXPECT_EQ(deliver(kUd), "ok");
  EXPECT_TRUE(b.v.state.mode_64());
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 40);
}

TEST_F(Delivery, InterruptStackTable) {
  b.enter_long(0);
  b.set_gate(x86::kDf, x86::kInterruptGate32, kCode64, Bench::kHandler, 0, 1);
  b.write(Bench::kTssABase + 36, 8, Bench::kIstStack + 7);
  EXPECT_EQ(deliver({.vector = x86::kDf, .has_error_code = true}), "ok");
  EXPECT_EQ(b.rsp(), Bench::kIstStack - 48);
  EXPECT_EQ(b.read(b.rsp() + 32, 8), Bench::kStack0);
  EXPECT_EQ(b.selector(Seg::kSs), kData0) << "the level didn't change";
  b.enter_long(3);
  EXPECT_EQ(deliver({.vector = x86::kDf, .has_error_code = true}), "ok");
  EXPECT_EQ(b.rsp(), Bench::kIstStack - 48);
  EXPECT_EQ(b.selector(Seg::kSs), 0);
}

TEST_F(Delivery, LastInterruptStackTableSlot) {
  b.enter_long(0);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode64, Bench::kHandler, 0, 7);
  b.write(Bench::kTssABase + 84, 8, Bench::kIstStack);
  EXPECT_EQ(deliver(kUd), "ok");
  EXPECT_EQ(b.rsp(), Bench::kIstStack - 40);
  b.v.state.tr.limit = 90;
  EXPECT_EQ(deliver(kUd), "#TS(0x61)");
}

TEST_F(Delivery, LongModeGateChecks) {
  b.enter_long(0);
  const auto through = [&](unsigned type, u16 target, u64 offset) {
    b.set_gate(x86::kUd, type, target, offset);
    return deliver(kUd);
  };
  EXPECT_EQ(through(x86::kInterruptGate16, kCode64, 0), "#GP(0x33)");
  EXPECT_EQ(through(x86::kTaskGate, kTssB, 0), "#GP(0x33)");
  EXPECT_EQ(through(x86::kInterruptGate32, kCode0, 0), "#GP(0x9)") << "32-bit handler";
  EXPECT_EQ(through(x86::kInterruptGate32, kBadCode64, 0), "#GP(0xd1)");
  EXPECT_EQ(through(x86::kInterruptGate32, kCode64, 0x0000800000000000), "#GP(0x1)");
  EXPECT_EQ(through(x86::kInterruptGate32, 0, 0), "#GP(0x1)");
  b.v.state.idtr.limit = 16 * x86::kUd + 14;
  EXPECT_EQ(through(x86::kInterruptGate32, kCode64, 0), "#GP(0x33)");
}

TEST_F(Delivery, LongModeStackFaults) {
  b.enter_long(3);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode64, Bench::kHandler);
  b.write(Bench::kTssABase + 4, 8, 0x0000800000000010);
  EXPECT_EQ(deliver(kUd), "#SS(0x1)");
  b.write(Bench::kTssABase + 4, 8, Bench::kStack0);
  b.map_page(Bench::kStack0 - 0x1000, 0);
  EXPECT_EQ(deliver(kUd), "#PF(0x2)") << "a supervisor's write";
  EXPECT_EQ(b.v.fault.address, Bench::kStack0 - 8) << "the first push";
}

TEST_F(Delivery, TablesAreReadAsSupervisor) {
  b.enter_long(3);
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode64, Bench::kHandler);
  for (const u64 page : {Bench::kGdt, Bench::kIdt, Bench::kTssABase, Bench::kStack0 - 0x1000})
    b.map_page(page, 3);
  EXPECT_EQ(deliver(kUd), "ok");
}

TEST_F(Delivery, ClearsShadowsAndGeneralDetect) {
  b.enter_long(0);
  b.set_gate(x86::kDb, x86::kInterruptGate32, kCode64, Bench::kHandler);
  b.v.state.shadow_sti = b.v.state.shadow_mov_ss = true;
  b.v.state.dr7 |= x86::dr7::kGd;
  EXPECT_EQ(deliver({.vector = x86::kDb, .kind = EventKind::kTrap}), "ok");
  EXPECT_FALSE(b.v.state.shadow_sti || b.v.state.shadow_mov_ss);
  EXPECT_EQ(b.v.state.dr7 & x86::dr7::kGd, 0u);
}

TEST_F(Delivery, HandlerMayNotTouchUserMemoryUnderSmap) {
  b.enter_long(3);
  b.v.state.cr4 |= x86::cr4::kSmap;
  b.v.mmu.update_context();
  b.set_gate(x86::kUd, x86::kInterruptGate32, kCode64, Bench::kHandler);
  EXPECT_EQ(deliver(kUd), "#PF(0x1)") << "the IDT stands in user pages: an implicit access";
  for (const u64 page : {Bench::kGdt, Bench::kIdt, Bench::kTssABase}) b.map_page(page, 3);
  EXPECT_EQ(deliver(kUd), "#PF(0x3)") << "so does the stack";
  b.map_page(Bench::kStack0 - 0x1000, 3);
  EXPECT_EQ(deliver(kUd), "ok");
  u64 value = 0;
  EXPECT_FALSE(b.v.mmu.read<u64>(Bench::kStack3, value)) << "the MMU knows the new level";
}

}  // namespace
}  // namespace vellum::test
