// SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM vol. 2B; vol. 3A §5.8.7-5.8.8), as Intel's processors do them: code
// and stack segments are flat constants, only their selectors come from MSRs.
#include "cpu/system/privilege.hpp"
#include "cpu/system/transfers.hpp"

namespace vellum {

using namespace protection;
using x86::Seg;
using x86::Segment;
namespace flag = x86::rflags;

namespace {

Segment flat_code(u64 selector, unsigned dpl, bool long_mode) {
  Segment s;
  s.selector = static_cast<u16>(selector);
  s.attributes =
      static_cast<u16>((long_mode ? 0xa09b : 0xc09b) | dpl << 5);  // G, L or D, present, execute/read
  s.limit = 0xffffffff;
  return s;
}

Segment flat_stack(u64 selector, unsigned dpl) {
  Segment s;
  s.selector = static_cast<u16>(selector);
  s.attributes = static_cast<u16>(0xc093 | dpl << 5);  // G, B, present, read/write
  s.limit = 0xffffffff;
  return s;
}

void enter(Vcpu& v, const Segment& cs, const Segment& ss, u64 rip, unsigned cpl) {
  v.state.segment(Seg::kCs) = cs;
  v.state.segment(Seg::kSs) = ss;
  v.state.cpl = static_cast<u8>(cpl);
  v.state.rip = rip;
  v.mmu.update_context();
}

/// 64-bit mode; AMD's also in compatibility and legacy protected mode (APM vol. 3, SYSCALL), and Linux on a
/// CPU that says it is AMD's makes its 32-bit programs use that.
bool syscall_enabled(const Vcpu& v) {
  if ((v.state.msr.efer & x86::efer::kSce) == 0) return false;
  return v.state.mode_64() || (v.model.is_amd() && v.state.protected_mode() && !v.state.virtual_8086());
}

/// AMD's legacy-mode SYSCALL and SYSRET: EIP only, flat 32-bit segments, IF (and VM, RF) instead of a mask.
bool legacy_syscall(Vcpu& v) {
  VcpuState& s = v.state;
  s.gpr[x86::kRcx] = s.rip;
  s.rflags &= ~(flag::kIf | flag::kRf);
  const u64 selector = bits(s.msr.star, 47, 32) & 0xfffc;
  enter(v, flat_code(selector, 0, false), flat_stack(selector + 8, 0), bits(s.msr.star, 31, 0), 0);
  return true;
}
bool legacy_sysret(Vcpu& v) {
  VcpuState& s = v.state;
  s.rflags |= flag::kIf;
  const u64 base = bits(s.msr.star, 63, 48);
  enter(v, flat_code(base | 3, 3, false), flat_stack((base + 8) | 3, 3), static_cast<u32>(s.gpr[x86::kRcx]),
        3);
  return true;
}

/// SYSENTER and SYSEXIT: protected mode (virtual-8086 included) with a code selector set up.
bool sysenter_enabled(const Vcpu& v) {
  return v.state.protected_mode() && !is_null(static_cast<u16>(v.state.msr.sysenter_cs));
}

}  // namespace

bool syscall(Vcpu& v) {
  if (!syscall_enabled(v)) return v.raise_ud();
  VcpuState& s = v.state;
  if (!s.long_mode_active()) return legacy_syscall(v);
  const u64 target = s.mode_64() ? s.msr.lstar : s.msr.cstar;
  s.gpr[x86::kRcx] = s.rip;
  s.gpr[x86::kR11] = s.rflags & ~flag::kRf;
  s.rflags = (s.rflags & ~(s.msr.sfmask | flag::kRf)) | flag::kFixed1;
  const u64 selector = bits(s.msr.star, 47, 32) & 0xfffc;
  enter(v, flat_code(selector, 0, true), flat_stack(selector + 8, 0), target, 0);
  return true;
}

bool sysret(Vcpu& v, unsigned operand_size) {
  if (!syscall_enabled(v)) return v.raise_ud();
  if (v.state.cpl != 0) return v.raise_gp(0);
  VcpuState& s = v.state;
  if (!s.long_mode_active()) return legacy_sysret(v);
  const bool to_64_bit = operand_size == 8;
  const u64 rip = to_64_bit ? s.gpr[x86::kRcx] : static_cast<u32>(s.gpr[x86::kRcx]);
  if (!x86::is_canonical(rip)) return v.raise_gp(0);  // still in ring 0, on the kernel's path
  constexpr u64 kLoaded = flag::kAll & ~(flag::kRf | flag::kVm);
  s.rflags = (s.gpr[x86::kR11] & kLoaded) | flag::kFixed1;
  const u64 base = bits(s.msr.star, 63, 48);
  enter(v, flat_code((to_64_bit ? base + 16 : base) | 3, 3, to_64_bit), flat_stack((base + 8) | 3, 3), rip,
        3);
  return check_virtual_interrupt(v);
}

bool sysenter(Vcpu& v) {
  if (!sysenter_enabled(v)) return v.raise_gp(0);
  VcpuState& s = v.state;
  const bool long_mode = s.long_mode_active();
  s.rflags &= ~(flag::kVm | flag::kIf);
  const u64 selector = s.msr.sysenter_cs & 0xfffc;
  const u64 mask = long_mode ? ~u64{0} : 0xffffffff;
  s.gpr[x86::kRsp] = s.msr.sysenter_esp & mask;
  enter(v, flat_code(selector, 0, long_mode), flat_stack(selector + 8, 0), s.msr.sysenter_eip & mask, 0);
  return true;
}

bool sysexit(Vcpu& v, unsigned operand_size) {
  if (!sysenter_enabled(v) || v.state.cpl != 0) return v.raise_gp(0);
  VcpuState& s = v.state;
  const bool to_64_bit = operand_size == 8;
  const u64 mask = to_64_bit ? ~u64{0} : 0xffffffff;
  const u64 rsp = s.gpr[x86::kRcx] & mask;
  const u64 rip = s.gpr[x86::kRdx] & mask;
  if (to_64_bit && (!x86::is_canonical(rsp) || !x86::is_canonical(rip))) return v.raise_gp(0);
  const u64 selector = ((s.msr.sysenter_cs & 0xffff) + (to_64_bit ? 32 : 16)) | 3;
  s.gpr[x86::kRsp] = rsp;
  enter(v, flat_code(selector, 3, to_64_bit), flat_stack(selector + 8, 3), rip, 3);
  return true;
}

}  // namespace vellum
