// Reset, INIT and SIPI (SDM vol. 3A table 9-1 "IA-32 and Intel 64 Processor States Following Power-up, Reset,
// or INIT"; newer editions number it 10-1; §8.4 for the SIPI).
#include "cpu/state.hpp"

namespace vellum {
namespace {

constexpr u16 kDataAttributes = 0x93;  // present, S, read/write, accessed
constexpr u16 kLdtAttributes = 0x82;
constexpr u16 kTssAttributes = 0x8b;  // a busy 32-bit TSS, so that long mode's check of TR passes

constexpr u64 kResetCr0 = x86::cr0::kCd | x86::cr0::kNw | x86::cr0::kEt;

/// What reset and INIT have in common: everything but the caches' bits in CR0, the vector state and the MSRs.
void set_common(VcpuState& s, bool bootstrap, u32 signature) {
  s.gpr = {};
  s.gpr[x86::kRdx] = signature;
  s.rip = 0xfff0;
  s.rflags = x86::rflags::kFixed1;
  for (x86::Segment& segment : s.seg) segment = {.attributes = kDataAttributes, .limit = 0xffff};
  s.segment(x86::Seg::kCs) = {
      .selector = 0xf000, .attributes = kDataAttributes, .limit = 0xffff, .base = 0xffff0000};
  s.ldtr = {.attributes = kLdtAttributes, .limit = 0xffff};
  s.tr = {.attributes = kTssAttributes, .limit = 0xffff};
  s.gdtr = {.limit = 0xffff};
  s.idtr = {.limit = 0xffff};
  s.cr2 = s.cr3 = s.cr4 = 0;
  s.dr = {};
  s.dr6 = x86::dr6::kFixed1;
  s.dr7 = x86::dr7::kFixed1;
  s.pdpte = {};
  s.msr.efer = 0;
  s.cpl = 0;
  s.activity = bootstrap ? Activity::kRunning : Activity::kWaitForSipi;
  s.shadow_sti = s.shadow_mov_ss = false;
  s.nmi_blocked = s.nmi_pending = false;
  s.sipi_vector = 0;
}

}  // namespace

VcpuState reset_state(bool bootstrap, u32 signature) {
  VcpuState s;
  set_common(s, bootstrap, signature);
  s.cr0 = kResetCr0;
  s.xcr0 = x86::xcr0::kX87;
  // FCW 0x40, FSW 0, FTW 0x5555 (each register valid, zero), unlike FINIT's 0x37f, 0, 0xffff.
  s.xsave.fcw() = 0x40;
  s.xsave.ftw() = 0xff;
  s.xsave.mxcsr() = 0x1f80;
  s.xsave.header[0] = x86::xcr0::kX87;  // XSTATE_BV: FCW is not XRSTOR's initial value
  return s;
}

void apply_init(VcpuState& state, bool bootstrap, u32 signature) {
  const u64 kept = state.cr0 & (x86::cr0::kCd | x86::cr0::kNw);
  set_common(state, bootstrap, signature);
  state.cr0 = kept | x86::cr0::kEt;
}

void apply_sipi(VcpuState& state, u8 vector) {
  x86::Segment& cs = state.segment(x86::Seg::kCs);
  cs.selector = static_cast<u16>(vector << 8);
  cs.base = u64{vector} << 12;
  state.rip = 0;
  state.activity = Activity::kRunning;
  state.sipi_vector = vector;
}

}  // namespace vellum
