// The architectural state of one vCPU: everything that software can see or that a snapshot must keep. Engines
// hold caches of their own beside it, never a second truth.
#pragma once

#include <array>

#include "base/snapshot.hpp"
#include "x86/registers.hpp"
#include "x86/segment.hpp"

namespace vellum {

enum class Activity : u8 {
  kRunning,
  kHalted,       ///< HLT or MWAIT: waits for an interrupt, NMI, INIT
  kWaitForSipi,  ///< an application processor after INIT
  kShutdown,     ///< triple fault: only INIT or reset helps
};

/// The XSAVE area of x87, SSE and AVX state in the standard (non-compacted) layout (SDM vol. 1 §13.4).
/// XCOMP_BV is 0.
struct alignas(64) XsaveArea {
  // 512 bytes in FXSAVE's 64-bit layout; x87 and MMX registers at 32, XMM0-15 at 160.
  std::array<u8, 512> legacy{};
  std::array<u8, 64> header{};
  std::array<u8, 256> ymm_high{};

  u8* st(unsigned physical_order) {
    return legacy.data() + 32 + 16 * physical_order;
  }  ///< ST(i), relative to TOP
  u8* xmm(unsigned i) { return legacy.data() + 160 + 16 * i; }
  u8* ymm_hi(unsigned i) { return ymm_high.data() + 16 * i; }
  u16& fcw() { return *reinterpret_cast<u16*>(legacy.data()); }
  u16& fsw() { return *reinterpret_cast<u16*>(legacy.data() + 2); }
  u8& ftw() { return legacy[4]; }  ///< abridged: bit i set when physical register i is not empty
  u16& fop() { return *reinterpret_cast<u16*>(legacy.data() + 6); }
  u64& fip() { return *reinterpret_cast<u64*>(legacy.data() + 8); }
  u64& fdp() { return *reinterpret_cast<u64*>(legacy.data() + 16); }
  u32& mxcsr() { return *reinterpret_cast<u32*>(legacy.data() + 24); }

  bool operator==(const XsaveArea&) const = default;
  template <class V>
  void visit(V& v) {
    v(legacy), v(header), v(ymm_high);
  }
};

/// MSRs that are plain storage, in VcpuState. Names are the SDM's (vol. 4).
struct MsrState {
  u64 efer = 0;
  u64 star = 0, lstar = 0, cstar = 0, sfmask = 0;
  u64 kernel_gs_base = 0;
  u64 tsc_aux = 0;
  u64 tsc_adjust = 0;  ///< added to the clock's TSC: what RDTSC returns is clock.tsc() + tsc_adjust
  u64 sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  u64 pat = 0x0007040600070406;
  u64 misc_enable = 1;
  u64 debugctl = 0;
  u64 mtrr_def_type = 0;
  std::array<u64, 11> mtrr_fixed{};
  std::array<u64, 16> mtrr_variable{};  ///< PHYSBASE0, PHYSMASK0, PHYSBASE1, …
  u64 mcg_status = 0;
  u64 spec_ctrl = 0;
  u64 xss = 0;

  bool operator==(const MsrState&) const = default;
  template <class V>
  void visit(V& v) {
    v(efer), v(star), v(lstar), v(cstar), v(sfmask), v(kernel_gs_base), v(tsc_aux), v(tsc_adjust),
        v(sysenter_cs), v(sysenter_esp), v(sysenter_eip), v(pat), v(misc_enable), v(debugctl),
        v(mtrr_def_type), v(mtrr_fixed), v(mtrr_variable), v(mcg_status), v(spec_ctrl), v(xss);
  }
};

struct VcpuState {
  static constexpr std::string_view kKind = "vcpu";
  static constexpr u32 kVersion = 1;

  std::array<u64, 16> gpr{};
  u64 rip = 0;
  u64 rflags = x86::rflags::kFixed1;  ///< always whole and current at engine boundaries
  std::array<x86::Segment, x86::kSegCount> seg{};
  x86::Segment ldtr, tr;
  x86::DescriptorTable gdtr, idtr;
  u64 cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0;
  std::array<u64, 4> dr{};
  u64 dr6 = x86::dr6::kFixed1, dr7 = x86::dr7::kFixed1;
  std::array<u64, 4> pdpte{};  ///< PAE paging's four PDPTEs, loaded by MOV to CR3 (SDM vol. 3A §4.4.1)
  u64 xcr0 = x86::xcr0::kX87;
  XsaveArea xsave;
  MsrState msr;
  u8 cpl = 0;  ///< current privilege level; 3 in virtual-8086 mode, 0 in real mode
  Activity activity = Activity::kRunning;
  bool shadow_sti = false;     ///< interrupts are held off for one instruction after STI
  bool shadow_mov_ss = false;  ///< interrupts and debug traps are held off after MOV/POP SS
  bool nmi_blocked = false;    ///< between an NMI's delivery and the next IRET
  bool nmi_pending = false;
  u8 sipi_vector = 0;

  const x86::Segment& segment(x86::Seg s) const { return seg[static_cast<unsigned>(s)]; }
  x86::Segment& segment(x86::Seg s) { return seg[static_cast<unsigned>(s)]; }
  bool protected_mode() const { return (cr0 & x86::cr0::kPe) != 0; }
  bool virtual_8086() const { return (rflags & x86::rflags::kVm) != 0; }
  bool real_mode() const { return !protected_mode(); }
  bool long_mode_active() const {
    return (msr.efer & x86::efer::kLma) != 0;
  }  ///< IA-32e: 64-bit or compatibility
  bool mode_64() const { return long_mode_active() && segment(x86::Seg::kCs).long_mode(); }
  /// Bytes of the default operand size's mode: 8 in 64-bit mode, else 4 or 2 by CS.D.
  unsigned code_bytes() const { return mode_64() ? 8 : segment(x86::Seg::kCs).big() ? 4 : 2; }

  template <class V>
  void visit(V& v) {
    v(gpr), v(rip), v(rflags), v(seg), v(ldtr), v(tr), v(gdtr), v(idtr), v(cr0), v(cr2), v(cr3), v(cr4),
        v(dr), v(dr6), v(dr7), v(pdpte), v(xcr0), v(xsave), v(msr), v(cpl), v(activity), v(shadow_sti),
        v(shadow_mov_ss), v(nmi_blocked), v(nmi_pending), v(sipi_vector);
  }
};

/// What EDX holds after reset for callers that have no CPU model: "family 6", as table 9-1 has it.
inline constexpr u32 kResetSignature = 0x600;

/// The state after power-on or a RESET (SDM vol. 3A table 9-1). `bootstrap`: CS:IP at the reset vector and
/// running; otherwise the vCPU waits for a SIPI. `signature`: CpuModel::signature(), left in EDX.
VcpuState reset_state(bool bootstrap, u32 signature = kResetSignature);

/// What INIT does to a running state (SDM vol. 3A table 9-1): as reset, but keeps x87/SSE state, most MSRs,
/// CR0.CD/NW.
void apply_init(VcpuState& state, bool bootstrap, u32 signature = kResetSignature);

/// Starts a vCPU that waits for a SIPI at CS = vector << 8, IP = 0.
void apply_sipi(VcpuState& state, u8 vector);

}  // namespace vellum
