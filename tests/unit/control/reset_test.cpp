// The states of SDM vol. 3A table 9-1.
#include "fixture.hpp"

namespace vellum::test {
namespace {

TEST(Reset, PowerUpIsTable9_1) {
  VcpuState s = reset_state(true, 0x000a06f3);
  EXPECT_EQ(s.rflags, 2u);
  EXPECT_EQ(s.rip, 0xfff0u);
  EXPECT_EQ(s.cr0, 0x60000010u);
  EXPECT_EQ(s.cr2 | s.cr3 | s.cr4, 0u);
  EXPECT_EQ(s.segment(Seg::kCs), (Segment{0xf000, 0x93, 0xffff, 0xffff0000}));
  for (const Seg seg : {Seg::kSs, Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs})
    EXPECT_EQ(s.segment(seg), (Segment{0, 0x93, 0xffff, 0}));
  EXPECT_EQ(s.gdtr, (DescriptorTable{0, 0xffff}));
  EXPECT_EQ(s.idtr, (DescriptorTable{0, 0xffff}));
  EXPECT_EQ(s.ldtr.limit, 0xffffu);
  EXPECT_TRUE(s.ldtr.present() && s.tr.present());
  EXPECT_EQ(s.gpr[kRdx], 0x000a06f3u);
  EXPECT_EQ(s.gpr[kRax] | s.gpr[kRcx] | s.gpr[kRsp] | s.gpr[kR15], 0u);
  EXPECT_EQ(s.xsave.fcw(), 0x40);
  EXPECT_EQ(s.xsave.fsw(), 0);
  EXPECT_EQ(s.xsave.ftw(), 0xff);  // 0x5555 in full: all valid, zero
  EXPECT_EQ(s.xsave.mxcsr(), 0x1f80u);
  EXPECT_EQ(s.dr6, 0xffff0ff0u);
  EXPECT_EQ(s.dr7, 0x400u);
  EXPECT_EQ(s.xcr0, 1u);
  EXPECT_EQ(s.msr.efer, 0u);
  EXPECT_EQ(s.msr.pat, 0x0007040600070406u);
  EXPECT_EQ(s.msr.mtrr_def_type, 0u);
  EXPECT_EQ(s.cpl, 0);
  EXPECT_EQ(s.activity, Activity::kRunning);
}

TEST(Reset, ApplicationProcessorsWaitForASipi) {
  VcpuState s = reset_state(false);
  EXPECT_EQ(s.activity, Activity::kWaitForSipi);
  apply_sipi(s, 0x9a);
  EXPECT_EQ(s.activity, Activity::kRunning);
  EXPECT_EQ(s.segment(Seg::kCs), (Segment{0x9a00, 0x93, 0xffff, 0x9a000}));
  EXPECT_EQ(s.rip, 0u);
}

TEST(Reset, InitKeepsVectorStateMsrsAndCacheBits) {
  VcpuState s = reset_state(true);
  s.gpr.fill(7);
  s.cr0 = cr0::kPe | cr0::kPg | cr0::kEt | cr0::kCd | cr0::kNe;
  s.cr2 = s.cr3 = s.cr4 = 0x1000;
  s.xsave.fcw() = 0x37f;
  s.xsave.xmm(3)[5] = 9;
  s.xcr0 = 7;
  s.msr.pat = 6;
  s.msr.tsc_adjust = 11;
  s.msr.sysenter_eip = 12;
  s.msr.mtrr_def_type = 0xc06;
  s.msr.efer = efer::kLme | efer::kLma;
  s.dr7 = 0x401;
  s.nmi_blocked = true;
  s.activity = Activity::kShutdown;
  apply_init(s, false);
  EXPECT_EQ(s.cr0, cr0::kCd | cr0::kEt);
  EXPECT_EQ(s.cr2 | s.cr3 | s.cr4 | s.gpr[kRax], 0u);
  EXPECT_EQ(s.gpr[kRdx], kResetSignature);
  EXPECT_EQ(s.xsave.fcw(), 0x37f);
  EXPECT_EQ(s.xsave.xmm(3)[5], 9);
  EXPECT_EQ(s.xcr0, 7u);
  EXPECT_EQ(s.msr.pat, 6u);
  EXPECT_EQ(s.msr.tsc_adjust, 11u);
  EXPECT_EQ(s.msr.sysenter_eip, 12u);
  EXPECT_EQ(s.msr.mtrr_def_type, 0xc06u);
  EXPECT_EQ(s.msr.efer, 0u);
  EXPECT_EQ(s.dr7, 0x400u);
  EXPECT_FALSE(s.nmi_blocked);
  EXPECT_EQ(s.activity, Activity::kWaitForSipi);
}

TEST(Reset, InitOfTheBootstrapProcessorRestartsIt) {
  VcpuState s = reset_state(true);
  s.rip = 5;
  apply_init(s, true);
  EXPECT_EQ(s.activity, Activity::kRunning);
  EXPECT_EQ(s.rip, 0xfff0u);
}

TEST(Reset, AResetVcpuCanEnterLongMode) {
  const VcpuState s = reset_state(true);
  EXPECT_NE(s.tr.type(), kTss16Available);
  EXPECT_NE(s.tr.type(), kTss16Busy);
}

}  // namespace
}  // namespace vellum::test
