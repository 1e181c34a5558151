// Hardware task switches (SDM vol. 3A ch. 7 "Task Management"), 32-bit and 16-bit.
#include "cpu/system/events.hpp"
#include "cpu/system/transfers.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::EventKind;
using x86::Seg;
namespace flag = x86::rflags;

struct Task : testing::Test {
  Task() {
    b.enter_protected(0);
    for (unsigned i = 0; i < 8; ++i)
      if (i != x86::kRsp) b.v.state.gpr[i] = 0xa0000000 + i;
    fill_tss_b(kCode0, kData0, kData0);
  }
  /// A 32-bit task in TSS B.
  void fill_tss_b(u16 cs, u16 ss, u16 data, u64 eflags = flag::kFixed1) {
    for (u64 i = 0; i < 104; i += 4) b.write(tss(i), 4, 0);
    b.write(tss(32), 4, 0x32000);
    b.write(tss(36), 4, eflags);
    for (u64 i = 0; i < 8; ++i) b.write(tss(40 + 4 * i), 4, 0xb0000000 + i);
    b.write(tss(56), 4, 0x26000);  // ESP
    const u16 selectors[] = {data, cs, ss, data, data, data};
    for (u64 i = 0; i < 6; ++i) b.write(tss(72 + 4 * i), 2, selectors[i]);
    b.write(tss(102), 2, 0x68);
  }
  static u64 tss(u64 offset) { return Bench::kTssBBase + offset; }
  static u64 old_tss(u64 offset) { return Bench::kTssABase + offset; }
  std::string jump(u16 s = kTssB) {
    return b.run([&] { return far_jump(b.v, s, 0, 4); });
  }
  std::string call(u16 s = kTssB) {
    return b.run([&] { return far_call(b.v, s, 0, 4); });
  }
  std::string iret() {
    return b.run([&] { return interrupt_return(b.v, 4); });
  }
  Bench b;
};

TEST_F(Task, JumpSavesTheOldTaskAndLoadsTheNew) {
  b.v.state.rflags |= flag::kCf;
  EXPECT_EQ(jump(), "ok");
  EXPECT_EQ(b.items(old_tss(32), 4, 10),
            (std::vector<u64>{Bench::kStart, flag::kFixed1 | flag::kCf, 0xa0000000, 0xa0000001, 0xa0000002,
                              0xa0000003, Bench::kStack0, 0xa0000005, 0xa0000006, 0xa0000007}));
  EXPECT_EQ(b.read(old_tss(76), 2), kCode0);
  EXPECT_EQ(b.read(old_tss(92), 2), kData0);
  EXPECT_EQ(b.v.state.rip, 0x32000u);
  EXPECT_EQ(b.rsp(), 0x26000u);
  EXPECT_EQ(b.v.state.gpr[x86::kRdi], 0xb0000007u);
  EXPECT_EQ(b.v.state.rflags, flag::kFixed1);
  EXPECT_EQ(b.v.state.tr.selector, kTssB);
  EXPECT_EQ(b.v.state.tr.type(), x86::kTss32Busy);
  EXPECT_EQ(b.descriptor_type(kTssA), x86::kTss32Available);
  EXPECT_EQ(b.descriptor_type(kTssB), x86::kTss32Busy);
  EXPECT_NE(b.v.state.cr0 & x86::cr0::kTs, 0u);
}

TEST_F(Task, CallNestsAndIretReturns) {
  EXPECT_EQ(call(), "ok");
  EXPECT_EQ(b.descriptor_type(kTssA), x86::kTss32Busy);
  EXPECT_EQ(b.descriptor_type(kTssB), x86::kTss32Busy);
  EXPECT_EQ(b.read(tss(0), 2), kTssA);
  EXPECT_NE(b.v.state.rflags & flag::kNt, 0u);
  EXPECT_EQ(iret(), "ok");
  EXPECT_EQ(b.v.state.tr.selector, kTssA);
  EXPECT_EQ(b.v.state.rip, Bench::kStart);
  EXPECT_EQ(b.v.state.gpr[x86::kRax], 0xa0000000u);
  EXPECT_EQ(b.v.state.rflags & flag::kNt, 0u);
  EXPECT_EQ(b.descriptor_type(kTssA), x86::kTss32Busy);
  EXPECT_EQ(b.descriptor_type(kTssB), x86::kTss32Available);
  EXPECT_EQ(b.read(tss(36), 4) & flag::kNt, 0u) << "NT cleared in the image of the task left";
}

TEST_F(Task, ThroughATaskGate) {
  b.set_call_gate(kFree, x86::kTaskGate, 0, kTssB, 0);
  EXPECT_EQ(call(kFree), "ok");
  EXPECT_EQ(b.v.state.tr.selector, kTssB);
}

TEST_F(Task, InterruptThroughATaskGatePushesTheErrorCodeOnTheNewStack) {
  b.set_gate(x86::kGp, x86::kTaskGate, kTssB, 0);
  const auto deliver = [&] {
    return try_deliver(b.v, {.vector = x86::kGp, .has_error_code = true, .error_code = 0x1234});
  };
  EXPECT_EQ(b.run(deliver), "ok");
  EXPECT_EQ(b.v.state.rip, 0x32000u);
  EXPECT_EQ(b.rsp(), 0x26000u - 4);
  EXPECT_EQ(b.read(0x26000 - 4, 4), 0x1234u);
  EXPECT_EQ(b.read(tss(0), 2), kTssA);
  EXPECT_NE(b.read(old_tss(36), 4) & flag::kRf, 0u) << "a fault's flags image has RF";
}

TEST_F(Task, GateAndTssPrivilege) {
  b.enter_protected(3);
  EXPECT_EQ(jump(kTssB | 3), "#GP(0x70)");
  b.set_call_gate(kFree, x86::kTaskGate, 0, kTssB, 0);
  EXPECT_EQ(call(kFree | 3), "#GP(0xe0)");
  b.set_call_gate(kFree, x86::kTaskGate, 3, kTssB, 0);
  EXPECT_EQ(call(kFree | 3), "ok") << "the TSS's own DPL doesn't count then";
  EXPECT_EQ(b.v.state.cpl, 0);
}

TEST_F(Task, ChecksBeforeTheSwitch) {
  EXPECT_EQ(jump(kTssA), "#GP(0x60)") << "busy";
  b.set_system(kTssB, x86::kTss32Available, 0, Bench::kTssBBase, 0x66);
  EXPECT_EQ(jump(), "#TS(0x70)") << "too small";
  b.set_system(kTssB, x86::kTss32Available, 0, Bench::kTssBBase, 0x67, false);
  EXPECT_EQ(jump(), "#NP(0x70)");
  const auto gate_to = [&](u16 s) {
    b.set_call_gate(kFree, x86::kTaskGate, 0, s, 0);
    return jump(kFree);
  };
  EXPECT_EQ(gate_to(0), "#GP(0x0)");
  EXPECT_EQ(gate_to(kTssB | 4), "#GP(0x74)") << "in the LDT";
  EXPECT_EQ(gate_to(0x100), "#GP(0x100)");
  EXPECT_EQ(gate_to(kData0), "#GP(0x10)");
  EXPECT_EQ(gate_to(kTssA), "#GP(0x60)") << "busy";
}

TEST_F(Task, ReturnChecks) {
  b.v.state.rflags |= flag::kNt;
  const auto back_to = [&](u16 s) {
    b.write(old_tss(0), 2, s);
    return iret();
  };
  EXPECT_EQ(back_to(0), "#TS(0x0)");
  EXPECT_EQ(back_to(kTssB | 4), "#TS(0x74)");
  EXPECT_EQ(back_to(0x100), "#TS(0x100)");
  EXPECT_EQ(back_to(kTssB), "#TS(0x70)") << "not busy";
  b.set_system(kTssB, x86::kTss32Busy, 0, Bench::kTssBBase, 0x67, false);
  EXPECT_EQ(back_to(kTssB), "#NP(0x70)");
}

TEST_F(Task, UnmappedTssLeavesEverythingAlone) {
  b.enable_paging();
  b.map_page(Bench::kTssBBase, 0);
  EXPECT_EQ(jump(), "#PF(0x0)");
  b.map_page(Bench::kTssBBase, 7);
  b.map_page(Bench::kTssABase, 5);
  EXPECT_EQ(jump(), "#PF(0x3)") << "the old TSS can't be written";
  EXPECT_EQ(b.v.fault.address, Bench::kTssABase + 32);
  EXPECT_EQ(b.descriptor_type(kTssB), x86::kTss32Available);
  b.map_page(Bench::kTssABase, 7);
  b.map_page(Bench::kTssBBase, 5);
  b.write(tss(28), 4, Bench::kPageTables);
  EXPECT_EQ(jump(), "ok") << "a jump only reads the new TSS";
}

TEST_F(Task, CallNeedsToWriteTheLink) {
  b.enable_paging();
  b.map_page(Bench::kTssBBase, 5);
  EXPECT_EQ(call(), "#PF(0x3)");
  EXPECT_EQ(b.read(old_tss(32), 4), 0u) << "nothing saved";
}

TEST_F(Task, BusyBitsNeedAWritableGdt) {
  b.enable_paging();
  b.map_page(Bench::kGdt, 5);
  EXPECT_EQ(jump(), "#PF(0x3)");
  EXPECT_EQ(b.v.fault.address, Bench::kGdt + kTssA + 5);
  EXPECT_EQ(b.read(old_tss(32), 4), 0u) << "nothing saved";
  EXPECT_EQ(call(), "#PF(0x3)");
  EXPECT_EQ(b.v.fault.address, Bench::kGdt + kTssB + 5);
  b.v.state.rflags |= flag::kNt;
  b.set_system(kTssB, x86::kTss32Busy, 0, Bench::kTssBBase, 0xff);
  b.write(old_tss(0), 2, kTssB);
  EXPECT_EQ(iret(), "#PF(0x3)");
  EXPECT_EQ(b.v.fault.address, Bench::kGdt + kTssA + 5);
  EXPECT_EQ(b.read(old_tss(32), 4), 0u);
}

TEST_F(Task, OldTssMustHaveRoom) {
  b.v.state.tr.limit = 0x66;
  EXPECT_EQ(jump(), "#TS(0x60)");
}

TEST_F(Task, ReturnToItselfSavesBeforeItLoads) {
  b.v.state.rflags |= flag::kNt;
  b.write(old_tss(0), 2, kTssA);
  EXPECT_EQ(iret(), "ok");
  EXPECT_EQ(b.v.state.rip, Bench::kStart);
  EXPECT_EQ(b.v.state.gpr[x86::kRax], 0xa0000000u);
  EXPECT_EQ(b.v.state.rflags, flag::kFixed1);
}

TEST_F(Task, PaePointersOfTheNewSpaceAreCheckedFirst) {
  // One PDPT whose first entry maps 4 MiB by two 2 MiB pages.
  constexpr u64 kPdpt = 0x14000;
  b.write(kPdpt, 8, (kPdpt + 0x1000) | 1);
  b.write(kPdpt + 0x1000, 8, 0x000087);
  b.write(kPdpt + 0x1008, 8, 0x200087);
  b.v.state.cr3 = kPdpt;
  b.v.state.pdpte = {(kPdpt + 0x1000) | 1, 0, 0, 0};
  b.v.state.cr4 |= x86::cr4::kPae;
  b.v.state.cr0 |= x86::cr0::kPg;
  b.v.mmu.update_context();
  b.v.mmu.flush_all();
  b.write(tss(28), 4, kPdpt + 0x20);
  b.write(kPdpt + 0x20, 8, (kPdpt + 0x1000) | 3);
  EXPECT_EQ(jump(), "#GP(0x0)") << "a reserved bit";
  b.write(kPdpt + 0x20, 8, (kPdpt + 0x1000) | 1);
  b.write(kPdpt + 0x28, 8, 0x17001);
  EXPECT_EQ(jump(), "ok");
  EXPECT_EQ(b.v.state.pdpte[1], 0x17001u);
}

TEST_F(Task, LoadsCr3OnlyUnderPaging) {
  b.write(tss(28), 4, 0x10000);
  EXPECT_EQ(jump(), "ok");
  EXPECT_EQ(b.v.state.cr3, 0u);
}

TEST_F(Task, SwitchesAddressSpaces) {
  b.enable_paging();
  // The new space maps linear 0x40000 to 0x50000.
  constexpr u64 kOther = 0x12000;
  b.write(kOther, 4, (kOther + 0x1000) | 7);
  for (u64 i = 0; i < 1024; ++i) b.write(kOther + 0x1000 + 4 * i, 4, (i << 12) | 7);
  b.write(kOther + 0x1000 + 4 * 0x40, 4, 0x50007);
  b.write(0x50000, 4, 0x12345678);
  b.write(tss(28), 4, kOther);
  u32 value = 0;
  EXPECT_TRUE(b.v.mmu.read<u32>(0x40000, value));
  EXPECT_EQ(jump(), "ok");
  EXPECT_EQ(b.v.state.cr3, kOther);
  EXPECT_TRUE(b.v.mmu.read<u32>(0x40000, value));
  EXPECT_EQ(value, 0x12345678u);
}

TEST_F(Task, SwitchesLdt) {
  b.write(tss(96), 2, kLdt);
  b.write(Bench::kLdtBase + 8, 8, b.descriptor(kData0));
  b.write(tss(84), 2, 0x0c);  // DS in the new LDT
  b.v.state.ldtr = {};
  EXPECT_EQ(jump(), "ok");
  EXPECT_EQ(b.v.state.ldtr.base, Bench::kLdtBase);
  EXPECT_EQ(b.selector(Seg::kDs), 0x0c);
  EXPECT_TRUE(b.seg(Seg::kDs).usable());
}

TEST_F(Task, ToUserCode) {
  fill_tss_b(kCode3 | 3, kData3 | 3, kData3 | 3);
  EXPECT_EQ(jump(), "ok");
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.selector(Seg::kSs), kData3 | 3);
}

TEST_F(Task, ToVirtual8086Mode) {
  fill_tss_b(0x2000, 0x2001, 0x2002, flag::kFixed1 | flag::kVm);
  b.write(tss(32), 4, 0x1234);
  EXPECT_EQ(jump(), "ok");
  EXPECT_TRUE(b.v.state.virtual_8086());
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.seg(Seg::kSs).base, 0x20010u);
}

TEST_F(Task, FaultsOfTheNewTasksSegmentsBelongToIt) {
  const auto with = [&](u16 cs, u16 ss, u16 data) {
    b.set_system(kTssB, x86::kTss32Available, 0, Bench::kTssBBase, 0xff);
    b.enter_protected(0);
    fill_tss_b(cs, ss, data);
    const std::string result = jump();
    EXPECT_EQ(b.v.state.tr.selector, kTssB);
    EXPECT_EQ(b.v.state.rip, 0x32000u);
    EXPECT_NE(b.v.state.rflags & flag::kRf, 0u);
    return result;
  };
  EXPECT_EQ(with(0, kData0, kData0), "#TS(0x0) at target");
  EXPECT_EQ(with(0x100, kData0, kData0), "#TS(0x100) at target");
  EXPECT_EQ(with(kData0, kData0, kData0), "#TS(0x10) at target");
  EXPECT_EQ(with(kCode0 | 3, kData3 | 3, kData3), "#TS(0x8) at target") << "CS DPL is not its RPL";
  EXPECT_EQ(with(kConforming3, kData0, kData0), "#TS(0x90) at target");
  EXPECT_EQ(with(kAbsentCode, kData0, kData0), "#NP(0xa8) at target");
  EXPECT_EQ(with(kCode0, 0, kData0), "#TS(0x0) at target");
  EXPECT_EQ(with(kCode0, kData3 | 3, kData0), "#TS(0x20) at target");
  EXPECT_EQ(with(kCode0, kReadOnly, kData0), "#TS(0xa0) at target");
  EXPECT_EQ(with(kCode0, kAbsentData, kData0), "#SS(0xb0) at target");
  EXPECT_EQ(with(kCode0, kData0, kExecuteOnly), "#TS(0x98) at target");
  EXPECT_EQ(with(kCode0, kData0, kAbsentData), "#NP(0xb0) at target");
  EXPECT_EQ(with(kCode3 | 3, kData3 | 3, kData0), "#TS(0x10) at target") << "DPL below CPL";
  EXPECT_EQ(with(kSmallCode, kData0, kData0), "#GP(0x0) at target") << "EIP beyond the limit";
}

TEST_F(Task, BadLdtBelongsToTheNewTask) {
  b.write(tss(96), 2, kData0);
  EXPECT_EQ(jump(), "#TS(0x10) at target");
  EXPECT_FALSE(b.v.state.ldtr.present());
}

TEST_F(Task, ErrorCodeThatDoesNotFitFaultsInTheNewTask) {
  fill_tss_b(kCode0, kSmallStack, kData0);
  b.write(tss(56), 4, 2);
  b.set_gate(x86::kGp, x86::kTaskGate, kTssB, 0);
  const auto deliver = [&] { return try_deliver(b.v, {.vector = x86::kGp, .has_error_code = true}); };
  EXPECT_EQ(b.run(deliver), "#SS(0x1) at target");
  EXPECT_EQ(b.v.state.tr.selector, kTssB);
}

TEST_F(Task, FaultInTheNewTaskIsDeliveredThere) {
  fill_tss_b(kCode0, kData0, kAbsentData);
  b.set_gate(x86::kUd, x86::kTaskGate, kTssB, 0);
  b.set_gate(x86::kNp, x86::kInterruptGate32, kCode0, Bench::kHandler);
  EXPECT_FALSE(deliver_event(b.v, {.vector = x86::kUd}).has_value());
  EXPECT_EQ(b.v.state.rip, Bench::kHandler);
  EXPECT_EQ(b.items(b.rsp(), 4, 3), (std::vector<u64>{0xb1, 0x32000, kCode0}));
  EXPECT_EQ(b.rsp(), 0x26000u - 16) << "on the new task's stack";
}

TEST_F(Task, DebugTrapFlag) {
  b.write(tss(100), 2, 1);
  EXPECT_EQ(jump(), "#DB at target");
  EXPECT_EQ(b.v.fault.address, x86::dr6::kBt);
  EXPECT_EQ(b.v.state.rip, 0x32000u);
  EXPECT_EQ(b.v.state.rflags & flag::kRf, 0u) << "a trap";
}

TEST_F(Task, DebugTrapFlagOfAnInterruptTask) {
  b.write(tss(100), 2, 1);
  b.set_gate(x86::kUd, x86::kTaskGate, kTssB, 0);
  b.set_gate(x86::kDb, x86::kInterruptGate32, kCode0, Bench::kHandler);
  EXPECT_FALSE(deliver_event(b.v, {.vector = x86::kUd}).has_value());
  EXPECT_EQ(b.v.state.rip, Bench::kHandler);
  EXPECT_NE(b.v.state.dr6 & x86::dr6::kBt, 0u);
  EXPECT_EQ(b.read(b.rsp(), 4), 0x32000u);
}

TEST_F(Task, ClearsLocalBreakpoints) {
  b.v.state.dr7 = x86::dr7::kFixed1 | 0x3ff;
  EXPECT_EQ(jump(), "ok");
  EXPECT_EQ(b.v.state.dr7, x86::dr7::kFixed1 | 0x2aa);
}

struct Task16 : Task {
  Task16() {
    b.set_system(kTssB, x86::kTss16Available, 0, Bench::kTssBBase, 0x2b);
    for (u64 i = 0; i < 44; i += 2) b.write(tss(i), 2, 0);
    b.write(tss(14), 2, 0x1234);
    b.write(tss(16), 2, flag::kFixed1 | flag::kCf);
    for (u64 i = 0; i < 8; ++i) b.write(tss(18 + 2 * i), 2, 0xb000 + i);
    b.write(tss(26), 2, 0x8000);
    const u16 selectors[] = {kData0, kCode16, kStack16, kData0};
    for (u64 i = 0; i < 4; ++i) b.write(tss(34 + 2 * i), 2, selectors[i]);
  }
};

TEST_F(Task16, FromA32BitTask) {
  b.v.state.rflags |= flag::kAc;
  EXPECT_EQ(jump(), "ok");
  EXPECT_EQ(b.v.state.rip, 0x1234u);
  EXPECT_EQ(b.v.state.rflags, flag::kFixed1 | flag::kCf);
  EXPECT_EQ(b.v.state.gpr[x86::kRbx], 0xb003u);
  EXPECT_EQ(b.rsp(), 0x8000u);
  EXPECT_EQ(b.selector(Seg::kCs), kCode16);
  EXPECT_EQ(b.selector(Seg::kFs), 0);
  EXPECT_EQ(b.v.state.tr.type(), x86::kTss16Busy);
  EXPECT_EQ(b.read(old_tss(36), 4), flag::kFixed1 | flag::kAc);
}

TEST_F(Task16, BackTo32Bit) {
  EXPECT_EQ(call(), "ok");
  b.v.state.rip = 0x5678;
  b.v.state.gpr[x86::kRax] = 0xffff1111;
  EXPECT_EQ(iret(), "ok");
  EXPECT_EQ(b.items(tss(14), 2, 3), (std::vector<u64>{0x5678, flag::kFixed1 | flag::kCf, 0x1111}));
  EXPECT_EQ(b.read(tss(36), 2), kCode16);
  EXPECT_EQ(b.read(tss(42), 2), 0u) << "the LDT field is not written";
  EXPECT_EQ(b.v.state.tr.selector, kTssA);
  EXPECT_EQ(b.v.state.rip, Bench::kStart);
}

TEST_F(Task16, ErrorCodeHas16Bits) {
  b.set_gate(x86::kGp, x86::kTaskGate, kTssB, 0);
  const auto deliver = [&] {
    return try_deliver(b.v, {.vector = x86::kGp, .has_error_code = true, .error_code = 0x4321});
  };
  EXPECT_EQ(b.run(deliver), "ok");
  EXPECT_EQ(b.rsp(), 0x7ffeu);
  EXPECT_EQ(b.read(0x10000 + 0x7ffe, 2), 0x4321u);
}

TEST_F(Task16, MinimumLimit) {
  b.set_system(kTssB, x86::kTss16Available, 0, Bench::kTssBBase, 0x2a);
  EXPECT_EQ(jump(), "#TS(0x70)");
}

}  // namespace
}  // namespace vellum::test
