// Virtual-8086 mode: ways in and out, IOPL, and the virtual mode extensions (SDM vol. 3A ch. 20).
#include "cpu/system/events.hpp"
#include "cpu/system/transfers.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::EventKind;
using x86::Seg;
namespace flag = x86::rflags;

struct Virtual8086 : testing::Test {
  std::string interrupt(u8 vector) {
    return b.run([&] { return software_interrupt(b.v, vector, EventKind::kSoftwareInterrupt); });
  }
  std::string iret(unsigned size) {
    return b.run([&] { return interrupt_return(b.v, size); });
  }
  /// CR4.VME, and a TSS whose redirection bitmap sends only `to_monitor` to protected mode.
  void enable_vme(u8 to_monitor) {
    b.v.state.cr4 |= x86::cr4::kVme;
    b.write(Bench::kTssABase + 102, 2, 0x88);
    for (u64 i = 0; i < 32; ++i) b.write(Bench::kTssABase + 0x68 + i, 1, 0);
    b.write(Bench::kTssABase + 0x68 + to_monitor / 8, 1, u64{1} << (to_monitor % 8));
  }
  u64& flags() { return b.v.state.rflags; }
  Bench b;
};

TEST_F(Virtual8086, InterruptToProtectedMode) {
  b.enter_v86();
  b.set_gate(0x21, x86::kInterruptGate32, kCode0, Bench::kHandler, 3);
  const u64 before = flags();
  EXPECT_EQ(interrupt(0x21), "ok");
  EXPECT_EQ(b.v.state.cpl, 0);
  EXPECT_FALSE(b.v.state.virtual_8086());
  EXPECT_EQ(b.v.state.rip, Bench::kHandler);
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 36);
  EXPECT_EQ(b.items(b.rsp(), 4, 9),
            (std::vector<u64>{0x100, 0x1001, before, 0x8000, 0x1002, 0x1000, 0x1003, 0x1004, 0x1005}));
  for (const Seg s : {Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs}) EXPECT_EQ(b.seg(s), x86::Segment{});
}

TEST_F(Virtual8086, RoundTrip) {
  b.enter_v86();
  b.set_gate(x86::kGp, x86::kInterruptGate32, kCode0, Bench::kHandler);
  const auto before = encode_state(b.v.state).bytes;
  EXPECT_TRUE(try_deliver(b.v, {.vector = x86::kGp, .has_error_code = true}));
  b.rsp() += 4;
  b.write(b.rsp() + 8, 4, b.read(b.rsp() + 8, 4) & ~flag::kRf);
  EXPECT_EQ(iret(4), "ok");
  EXPECT_EQ(encode_state(b.v.state).bytes, before);
}

TEST_F(Virtual8086, SixteenBitGate) {
  b.enter_v86();
  b.set_gate(0x21, x86::kTrapGate16, kCode0, 0x4000, 3);
  EXPECT_EQ(interrupt(0x21), "ok");
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 18);
}

TEST_F(Virtual8086, HandlerMustBeAtLevelZeroAndNonconforming) {
  b.enter_v86();
  b.set_gate(0x21, x86::kInterruptGate32, kCode1, Bench::kHandler, 3);
  EXPECT_EQ(interrupt(0x21), "#GP(0x50)");
  b.set_gate(0x21, x86::kInterruptGate32, kConforming0, Bench::kHandler, 3);
  EXPECT_EQ(interrupt(0x21), "#GP(0x38)");
  b.set_gate(0x21, x86::kInterruptGate32, kCode3, Bench::kHandler, 3);
  EXPECT_EQ(interrupt(0x21), "#GP(0x18)");
  b.set_gate(0x21, x86::kInterruptGate32, kCode0, Bench::kHandler, 0);
  EXPECT_EQ(interrupt(0x21), "#GP(0x10a)") << "the gate's DPL counts";
}

TEST_F(Virtual8086, IoplSensitiveInstructions) {
  b.enter_v86(2);
  b.set_gate(0x21, x86::kInterruptGate32, kCode0, Bench::kHandler, 3);
  b.set_gate(x86::kBp, x86::kInterruptGate32, kCode0, Bench::kHandler, 3);
  EXPECT_EQ(interrupt(0x21), "#GP(0x0)");
  EXPECT_EQ(iret(2), "#GP(0x0)");
  EXPECT_EQ(iret(4), "#GP(0x0)");
  EXPECT_EQ(b.run([&] { return software_interrupt(b.v, x86::kBp, EventKind::kSoftwareException); }), "ok")
      << "INT3 is not sensitive";
}

TEST_F(Virtual8086, IretWithinTheMode) {
  b.enter_v86(3);
  b.put_on_stack(4, {0x1234, 0x2000, 0xffffffff & ~flag::kVm & ~flag::kIopl & ~flag::kIf});
  EXPECT_EQ(iret(4), "ok");
  EXPECT_EQ(b.seg(Seg::kCs).base, 0x20000u);
  EXPECT_EQ(flags(), flag::kAll & ~(flag::kIf | flag::kVif | flag::kVip)) << "VM, IOPL, VIF, VIP unchanged";
  EXPECT_EQ(b.rsp(), 0x8000u);
  b.put_on_stack(4, {0x10000, 0x2000, 0});
  EXPECT_EQ(iret(4), "#GP(0x0)");
}

TEST_F(Virtual8086, EntryByIret) {
  b.enter_protected(0);
  b.put_on_stack(4, {0x1234, 0x2000, flag::kVm | flag::kIf, 0x7000, 0x2001, 0x2002, 0x2003, 0x2004, 0x2005});
  EXPECT_EQ(iret(4), "ok");
  EXPECT_TRUE(b.v.state.virtual_8086());
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.v.state.rip, 0x1234u);
  EXPECT_EQ(b.rsp(), 0x7000u);
  EXPECT_EQ(b.selector(Seg::kSs), 0x2001);
  EXPECT_EQ(b.selector(Seg::kEs), 0x2002);
  EXPECT_EQ(b.selector(Seg::kDs), 0x2003);
  EXPECT_EQ(b.selector(Seg::kFs), 0x2004);
  EXPECT_EQ(b.selector(Seg::kGs), 0x2005);
  EXPECT_EQ(b.seg(Seg::kGs).base, 0x20050u);
}

TEST_F(Virtual8086, EntryChecks) {
  b.enter_protected(0);
  b.put_on_stack(4, {0x10000, 0x2000, flag::kVm, 0x7000, 1, 2, 3, 4, 5});
  EXPECT_EQ(iret(4), "#GP(0x0)") << "EIP beyond 64 KiB";
  b.enter_protected(1);
  b.put_on_stack(4, {0x1000, kCode1 | 1, flag::kVm});
  EXPECT_EQ(iret(4), "ok");
  EXPECT_FALSE(b.v.state.virtual_8086()) << "from level 0 only";
}

TEST_F(Virtual8086, VmeRedirectsToTheProgramWithIopl3) {
  b.enter_v86(3);
  enable_vme(0x80);
  b.write(0x21 * 4, 4, 0x30001234);
  flags() |= flag::kTf;
  const u64 before = flags();
  EXPECT_EQ(interrupt(0x21), "ok");
  EXPECT_TRUE(b.v.state.virtual_8086());
  EXPECT_EQ(b.seg(Seg::kCs),
            (x86::Segment{.selector = 0x3000, .attributes = 0xf3, .limit = 0xffff, .base = 0x30000}));
  EXPECT_EQ(b.v.state.rip, 0x1234u);
  EXPECT_EQ(b.items(0x10020 + 0x7ffa, 2, 3), (std::vector<u64>{0x100, 0x1001, before & 0xffff}));
  EXPECT_EQ(flags(), before & ~(flag::kIf | flag::kTf));
}

TEST_F(Virtual8086, VmeRedirectsWithVifBelowIopl3) {
  b.enter_v86(0);
  enable_vme(0x80);
  b.write(0x21 * 4, 4, 0x30001234);
  flags() = (flags() & ~flag::kIf) | flag::kVif;
  EXPECT_EQ(interrupt(0x21), "ok");
  EXPECT_EQ(b.read(0x10020 + 0x7ffe, 2), flag::kFixed1 | flag::kIopl | flag::kIf)
      << "VIF shown as IF, IOPL as 3";
  EXPECT_EQ(flags() & (flag::kVif | flag::kIf), 0u);
}

TEST_F(Virtual8086, VmeSendsMarkedVectorsToTheMonitor) {
  b.enter_v86(3);
  enable_vme(0x21);
  b.set_gate(0x21, x86::kInterruptGate32, kCode0, Bench::kHandler, 3);
  EXPECT_EQ(interrupt(0x21), "ok");
  EXPECT_EQ(b.v.state.cpl, 0);
  b.enter_v86(0);
  enable_vme(0x21);
  EXPECT_EQ(interrupt(0x21), "#GP(0x0)");
}

TEST_F(Virtual8086, VmeNeedsTheBitmapInTheTss) {
  b.enter_v86(3);
  enable_vme(0x80);
  b.v.state.tr.limit = 0x6b;
  EXPECT_EQ(interrupt(0x21), "#GP(0x0)");
}

TEST_F(Virtual8086, VmeIret) {
  b.enter_v86(0);
  enable_vme(0);
  flags() &= ~flag::kIf;
  b.put_on_stack(2, {0x1234, 0x2000, flag::kIf | flag::kCf});
  EXPECT_EQ(iret(2), "ok");
  EXPECT_EQ(flags() & (flag::kVif | flag::kIf | flag::kCf), flag::kVif | flag::kCf);
  flags() |= flag::kVip;
  b.put_on_stack(2, {0x1234, 0x2000, flag::kIf});
  EXPECT_EQ(iret(2), "#GP(0x0)") << "a virtual interrupt is pending";
  b.put_on_stack(2, {0x1234, 0x2000, flag::kTf});
  EXPECT_EQ(iret(2), "#GP(0x0)");
  EXPECT_EQ(iret(4), "#GP(0x0)") << "the 16-bit form only";
}

TEST_F(Virtual8086, EntryWithAPendingVirtualInterruptFaultsThere) {
  b.enter_protected(0);
  b.v.state.cr4 |= x86::cr4::kVme;
  b.put_on_stack(4, {0x1234, 0x2000, flag::kVm | flag::kVif | flag::kVip, 0x7000, 1, 2, 3, 4, 5});
  EXPECT_EQ(iret(4), "#GP(0x0) at target");
  EXPECT_TRUE(b.v.state.virtual_8086());
  EXPECT_EQ(b.v.state.rip, 0x1234u);
}

TEST_F(Virtual8086, ReturnWithAPendingProtectedModeVirtualInterruptFaultsThere) {
  b.enter_protected(0);
  const auto return_outward = [&] {
    b.enter_protected(0);
    b.put_on_stack(4, {0x1000, kCode3 | 3, flag::kVif | flag::kVip, Bench::kStack3, kData3 | 3});
    return iret(4);
  };
  EXPECT_EQ(return_outward(), "ok");
  b.v.state.cr4 |= x86::cr4::kPvi;
  EXPECT_EQ(return_outward(), "#GP(0x0) at target");
  EXPECT_EQ(b.v.state.cpl, 3);
  b.enter_protected(0);
  b.put_on_stack(4, {0x1000, kCode0, flag::kVif | flag::kVip});
  EXPECT_EQ(iret(4), "ok") << "level 3 only";
}

}  // namespace
}  // namespace vellum::test
