// SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM vol. 2B).
#include "cpu/system/transfers.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::Seg;
namespace flag = x86::rflags;

struct SystemCall : testing::Test {
  SystemCall() {
    b.v.state.msr.star = u64{0x23} << 48 | u64{0x10} << 32;
    b.v.state.msr.lstar = 0xffffffff81000000;
    b.v.state.msr.sfmask = 0x47700;
    b.v.state.msr.sysenter_cs = 0x10;
    b.v.state.msr.sysenter_esp = 0xffff888012345678;
    b.v.state.msr.sysenter_eip = 0xffffffff81800000;
  }
  std::string do_syscall() {
    return b.run([&] { return syscall(b.v); });
  }
  std::string do_sysret(unsigned size) {
    return b.run([&] { return sysret(b.v, size); });
  }
  std::string do_sysenter() {
    return b.run([&] { return sysenter(b.v); });
  }
  std::string do_sysexit(unsigned size) {
    return b.run([&] { return sysexit(b.v, size); });
  }
  u64& gpr(unsigned n) { return b.v.state.gpr[n]; }
  Bench b;
};

constexpr x86::Segment flat(u16 selector, u16 attributes) {
  return {.selector = selector, .attributes = attributes, .limit = 0xffffffff};
}

TEST_F(SystemCall, Syscall) {
  b.enter_long(3);
  b.v.state.rflags = flag::kFixed1 | flag::kIf | flag::kTf | flag::kCf | flag::kDf;
  EXPECT_EQ(do_syscall(), "ok");
  EXPECT_EQ(b.v.state.rip, 0xffffffff81000000u);
  EXPECT_EQ(gpr(x86::kRcx), Bench::kStart);
  EXPECT_EQ(gpr(x86::kR11), flag::kFixed1 | flag::kIf | flag::kTf | flag::kCf | flag::kDf);
  EXPECT_EQ(b.v.state.rflags, flag::kFixed1 | flag::kCf);
  EXPECT_EQ(b.v.state.cpl, 0);
  EXPECT_EQ(b.seg(Seg::kCs), flat(0x10, 0xa09b));
  EXPECT_EQ(b.seg(Seg::kSs), flat(0x18, 0xc093));
  EXPECT_EQ(b.rsp(), Bench::kStack3) << "RSP is software's business";
}

TEST_F(SystemCall, SyscallNeedsSceAnd64BitMode) {
  b.enter_long(3);
  b.v.state.msr.efer &= ~x86::efer::kSce;
  EXPECT_EQ(do_syscall(), "#UD");
  b.enter_compatibility(3);
  EXPECT_EQ(do_syscall(), "#UD");
  b.v.state.msr.efer = 0;
  b.enter_protected(3);
  EXPECT_EQ(do_syscall(), "#UD");
}

TEST_F(SystemCall, SysretTo64BitCode) {
  b.enter_long(0);
  gpr(x86::kRcx) = 0x7fff12345678;
  gpr(x86::kR11) = ~u64{0};
  EXPECT_EQ(do_sysret(8), "ok");
  EXPECT_EQ(b.v.state.rip, 0x7fff12345678u);
  EXPECT_EQ(b.v.state.rflags, 0x3c7fd7u) << "all but RF and VM";
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(b.seg(Seg::kCs), flat(0x33, 0xa0fb));
  EXPECT_EQ(b.seg(Seg::kSs), flat(0x2b, 0xc0f3));
}

TEST_F(SystemCall, SysretToCompatibilityMode) {
  b.enter_long(0);
  gpr(x86::kRcx) = 0xffffffff12345678;
  EXPECT_EQ(do_sysret(4), "ok");
  EXPECT_EQ(b.v.state.rip, 0x12345678u);
  EXPECT_EQ(b.seg(Seg::kCs), flat(0x23, 0xc0fb));
  EXPECT_EQ(b.v.state.code_bytes(), 4u);
}

TEST_F(SystemCall, SysretChecks) {
  b.enter_long(0);
  gpr(x86::kRcx) = 0x0000800000000000;
  EXPECT_EQ(do_sysret(8), "#GP(0x0)") << "raised in ring 0, as on Intel's processors";
  EXPECT_EQ(b.v.state.cpl, 0);
  b.v.state.msr.efer &= ~x86::efer::kSce;
  EXPECT_EQ(do_sysret(8), "#UD");
  b.enter_long(3);
  EXPECT_EQ(do_sysret(8), "#GP(0x0)");
}

TEST_F(SystemCall, SysenterToProtectedMode) {
  b.enter_protected(3);
  b.v.state.rflags |= flag::kIf | flag::kTf;
  EXPECT_EQ(do_sysenter(), "ok");
  EXPECT_EQ(b.v.state.rip, 0x81800000u);
  EXPECT_EQ(b.rsp(), 0x12345678u);
  EXPECT_EQ(b.v.state.cpl, 0);
  EXPECT_EQ(b.seg(Seg::kCs), flat(0x10, 0xc09b));
  EXPECT_EQ(b.seg(Seg::kSs), flat(0x18, 0xc093));
  EXPECT_EQ(b.v.state.rflags, flag::kFixed1 | flag::kTf);
}

TEST_F(SystemCall, SysenterFromV86AndFromCompatibilityMode) {
  b.enter_v86();
  EXPECT_EQ(do_sysenter(), "ok");
  EXPECT_FALSE(b.v.state.virtual_8086());
  b.enter_compatibility(3);
  EXPECT_EQ(do_sysenter(), "ok");
  EXPECT_TRUE(b.v.state.mode_64());
  EXPECT_EQ(b.v.state.rip, 0xffffffff81800000u);
  EXPECT_EQ(b.rsp(), 0xffff888012345678u);
}

TEST_F(SystemCall, SysenterChecks) {
  b.enter_real();
  EXPECT_EQ(do_sysenter(), "#GP(0x0)");
  b.enter_protected(3);
  b.v.state.msr.sysenter_cs = 3;
  EXPECT_EQ(do_sysenter(), "#GP(0x0)");
}

TEST_F(SystemCall, Sysexit) {
  b.enter_protected(0);
  gpr(x86::kRcx) = 0x28000;
  gpr(x86::kRdx) = 0x1234;
  EXPECT_EQ(do_sysexit(4), "ok");
  EXPECT_EQ(b.v.state.rip, 0x1234u);
  EXPECT_EQ(b.rsp(), 0x28000u);
  EXPECT_EQ(b.seg(Seg::kCs), flat(0x23, 0xc0fb));
  EXPECT_EQ(b.seg(Seg::kSs), flat(0x2b, 0xc0f3));
  EXPECT_EQ(b.v.state.cpl, 3);
  EXPECT_EQ(do_sysexit(4), "#GP(0x0)") << "from level 3";
}

TEST_F(SystemCall, SysexitTo64BitCode) {
  b.enter_long(0);
  gpr(x86::kRcx) = 0x7ffffffff000;
  gpr(x86::kRdx) = 0x7fff00001234;
  EXPECT_EQ(do_sysexit(8), "ok");
  EXPECT_EQ(b.seg(Seg::kCs), flat(0x33, 0xa0fb));
  EXPECT_EQ(b.seg(Seg::kSs), flat(0x3b, 0xc0f3));
  EXPECT_EQ(b.v.state.rip, 0x7fff00001234u);
  b.enter_long(0);
  gpr(x86::kRdx) = 0x0000800000000000;
  EXPECT_EQ(do_sysexit(8), "#GP(0x0)");
  gpr(x86::kRdx) = 0;
  gpr(x86::kRcx) = 0x0000800000000000;
  EXPECT_EQ(do_sysexit(8), "#GP(0x0)");
}

}  // namespace
}  // namespace vellum::test
