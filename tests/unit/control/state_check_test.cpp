// Which states of a vCPU are taken from outside: those that a processor can be in (SDM vol. 3C §26.3.1).
#include "cpu/state_check.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

/// 64-bit user code under Linux, so to speak.
VcpuState running_state() {
  VcpuState s = reset_state(true);
  s.cr0 = cr0::kPe | cr0::kEt | cr0::kPg | cr0::kWp;
  s.cr4 = cr4::kPae | cr4::kOsfxsr;
  s.cr3 = 0x1000;
  s.msr.efer = efer::kLme | efer::kLma | efer::kSce;
  s.segment(Seg::kCs) = {0x33, 0xa0fb, ~0u, 0};
  s.segment(Seg::kSs) = {0x2b, 0xc0f3, ~0u, 0};
  s.cpl = 3;
  s.rflags |= rflags::kIf;
  return s;
}

struct Damage {
  const char* what;
  void (*apply)(VcpuState&);
};

const Damage kDamages[] = {
    {"control registers", [](VcpuState& s) { s.cr0 |= bit(40); }},
    {"control registers", [](VcpuState& s) { s.cr0 |= cr0::kNw; }},
    {"control registers", [](VcpuState& s) { s.cr0 &= ~cr0::kPe; }},
    {"control registers", [](VcpuState& s) { s.cr3 = bit(40); }},
    {"control registers", [](VcpuState& s) { s.cr4 |= bit(30); }},
    {"EFER", [](VcpuState& s) { s.msr.efer &= ~efer::kLma; }},
    {"EFER", [](VcpuState& s) { s.msr.efer |= bit(20); }},
    {"EFER", [](VcpuState& s) { s.cr4 &= ~cr4::kPae; }},
    {"EFER", [](VcpuState& s) { s.cr0 &= ~cr0::kPg; }},
    {"flags", [](VcpuState& s) { s.rflags &= ~rflags::kFixed1; }},
    {"flags", [](VcpuState& s) { s.rflags |= bit(15); }},
    {"flags", [](VcpuState& s) { s.rflags |= rflags::kVm; }},
    {"privilege level", [](VcpuState& s) { s.cpl = 4; }},
    {"segment registers", [](VcpuState& s) { s.segment(Seg::kDs).attributes |= 0x100; }},
    {"segment registers", [](VcpuState& s) { s.segment(Seg::kFs).base = bit(47); }},
    {"segment registers", [](VcpuState& s) { s.segment(Seg::kCs).attributes |= 0x4000; }},
    {"segment registers", [](VcpuState& s) { s.tr.base = bit(63); }},
    {"segment registers", [](VcpuState& s) { s.idtr.base = bit(50); }},
    {"debug registers", [](VcpuState& s) { s.dr7 |= bit(32); }},
    {"vector state", [](VcpuState& s) { s.xcr0 = xcr0::kSse; }},
    {"vector state", [](VcpuState& s) { s.xcr0 = xcr0::kX87 | xcr0::kAvx; }},
    {"vector state", [](VcpuState& s) { s.xcr0 |= bit(9); }},
    {"vector state", [](VcpuState& s) { s.xsave.mxcsr() |= 0x10000; }},
    {"vector state", [](VcpuState& s) { s.xsave.header[15] = 0x80; }},
    {"model-specific registers", [](VcpuState& s) { s.msr.lstar = bit(47); }},
    {"model-specific registers", [](VcpuState& s) { s.msr.pat = 2; }},
    {"model-specific registers", [](VcpuState& s) { s.msr.tsc_aux = bit(32); }},
    {"activity state", [](VcpuState& s) { s.activity = static_cast<Activity>(4); }},
};

class StateCheck : public ::testing::Test {
 protected:
  x86::CpuModel model = *x86::CpuModel::create("host");
};

TEST_F(StateCheck, StatesOfAProcessorAreTaken) {
  EXPECT_TRUE(check_state(reset_state(true), model));
  EXPECT_TRUE(check_state(reset_state(false), model));
  EXPECT_TRUE(check_state(VcpuState(), model));
  const auto running = check_state(running_state(), model);
  EXPECT_TRUE(running) << running.error().message;
}

TEST_F(StateCheck, Virtual8086NeedsPrivilegeLevel3) {
  VcpuState s = reset_state(true);
  s.cr0 |= cr0::kPe;
  s.rflags |= rflags::kVm;
  s.cpl = 3;
  EXPECT_TRUE(check_state(s, model));
  s.cpl = 0;
  EXPECT_FALSE(check_state(s, model));
}

class DamagedState : public StateCheck, public ::testing::WithParamInterface<Damage> {};

TEST_P(DamagedState, IsRefusedAndNamed) {
  VcpuState s = running_state();
  GetParam().apply(s);
  const auto checked = check_state(s, model);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, ErrorCode::kBadInput);
  EXPECT_NE(checked.error().message.find(GetParam().what), std::string::npos) << checked.error().message;
}

INSTANTIATE_TEST_SUITE_P(Each, DamagedState, ::testing::ValuesIn(kDamages));

}  // namespace
}  // namespace vellum::test
