#include "cpu/kvm/registers.hpp"

#include <cstring>

namespace vellum::kvm {
namespace {

using x86::Seg;

kvm_segment to_segment(const x86::Segment& s) {
  kvm_segment k{};
  k.base = s.base;
  k.limit = s.limit;
  k.selector = s.selector;
  k.type = s.attributes & 0xf;
  k.s = s.attributes >> 4 & 1;
  k.dpl = s.attributes >> 5 & 3;
  k.present = s.attributes >> 7 & 1;
  k.avl = s.attributes >> 12 & 1;
  k.l = s.attributes >> 13 & 1;
  k.db = s.attributes >> 14 & 1;
  k.g = s.attributes >> 15 & 1;
  k.unusable = !k.present;
  return k;
}

x86::Segment from_segment(const kvm_segment& k) {
  x86::Segment s;
  s.base = k.base;
  s.limit = k.limit;
  s.selector = k.selector;
  const bool present = k.present != 0 && k.unusable == 0;
  s.attributes =
      static_cast<u16>((k.type & 0xf) | (k.s & 1) << 4 | (k.dpl & 3) << 5 | (present ? 1 : 0) << 7 |
                       (k.avl & 1) << 12 | (k.l & 1) << 13 | (k.db & 1) << 14 | (k.g & 1) << 15);
  return s;
}

kvm_dtable to_table(const x86::DescriptorTable& t) {
  kvm_dtable k{};
  k.base = t.base;
  k.limit = t.limit;
  return k;
}

constexpr std::size_t kLegacySize = 512, kHeaderSize = 64, kYmmSize = 256;

}  // namespace

void to_regs(const VcpuState& s, kvm_regs& r) {
  const auto& g = s.gpr;
  r = {.rax = g[x86::kRax],
       .rbx = g[x86::kRbx],
       .rcx = g[x86::kRcx],
       .rdx = g[x86::kRdx],
       .rsi = g[x86::kRsi],
       .rdi = g[x86::kRdi],
       .rsp = g[x86::kRsp],
       .rbp = g[x86::kRbp],
       .r8 = g[8],
       .r9 = g[9],
       .r10 = g[10],
       .r11 = g[11],
       .r12 = g[12],
       .r13 = g[13],
       .r14 = g[14],
       .r15 = g[15],
       .rip = s.rip,
       .rflags = s.rflags};
}

void from_regs(const kvm_regs& r, VcpuState& s) {
  s.gpr = {r.rax, r.rcx, r.rdx, r.rbx, r.rsp, r.rbp, r.rsi, r.rdi,
           r.r8,  r.r9,  r.r10, r.r11, r.r12, r.r13, r.r14, r.r15};
  s.rip = r.rip;
  s.rflags = r.rflags;
}

void to_sregs(const VcpuState& s, kvm_sregs& r) {
  r.es = to_segment(s.segment(Seg::kEs));
  r.cs = to_segment(s.segment(Seg::kCs));
  r.ss = to_segment(s.segment(Seg::kSs));
  r.ds = to_segment(s.segment(Seg::kDs));
  r.fs = to_segment(s.segment(Seg::kFs));
  r.gs = to_segment(s.segment(Seg::kGs));
  r.ss.dpl = s.cpl;  // where KVM takes the privilege level from
  r.ldt = to_segment(s.ldtr);
  r.tr = to_segment(s.tr);
  r.gdt = to_table(s.gdtr);
  r.idt = to_table(s.idtr);
  r.cr0 = s.cr0;
  r.cr2 = s.cr2;
  r.cr3 = s.cr3;
  r.cr4 = s.cr4;
  r.efer = s.msr.efer;
}

void from_sregs(const kvm_sregs& r, VcpuState& s) {
  s.segment(Seg::kEs) = from_segment(r.es);
  s.segment(Seg::kCs) = from_segment(r.cs);
  s.segment(Seg::kSs) = from_segment(r.ss);
  s.segment(Seg::kDs) = from_segment(r.ds);
  s.segment(Seg::kFs) = from_segment(r.fs);
  s.segment(Seg::kGs) = from_segment(r.gs);
  s.ldtr = from_segment(r.ldt);
  s.tr = from_segment(r.tr);
  s.gdtr = {r.gdt.base, r.gdt.limit};
  s.idtr = {r.idt.base, r.idt.limit};
  s.cr0 = r.cr0;
  s.cr2 = r.cr2;
  s.cr3 = r.cr3;
  s.cr4 = r.cr4;
  s.msr.efer = r.efer;
  s.cpl = r.ss.dpl & 3;
}

void to_debugregs(const VcpuState& s, kvm_debugregs& r) {
  r = {};
  for (unsigned i = 0; i < 4; ++i) r.db[i] = s.dr[i];
  r.dr6 = s.dr6;
  r.dr7 = s.dr7;
}

void from_debugregs(const kvm_debugregs& r, VcpuState& s) {
  for (unsigned i = 0; i < 4; ++i) s.dr[i] = r.db[i];
  s.dr6 = r.dr6;
  s.dr7 = r.dr7;
}

void to_xsave(const VcpuState& s, XsaveBytes& area) {
  area = {};
  u8* const to = reinterpret_cast<u8*>(area.region);  // SAFETY: bytes of a plain array
  std::memcpy(to, s.xsave.legacy.data(), kLegacySize);
  std::memcpy(to + kLegacySize, s.xsave.header.data(), kHeaderSize);
  std::memcpy(to + kLegacySize + kHeaderSize, s.xsave.ymm_high.data(), kYmmSize);
}

void from_xsave(const XsaveBytes& area, VcpuState& s) {
  const u8* const from = reinterpret_cast<const u8*>(area.region);  // SAFETY: as in to_xsave()
  std::memcpy(s.xsave.legacy.data(), from, kLegacySize);
  std::memcpy(s.xsave.header.data(), from + kLegacySize, kHeaderSize);
  std::memcpy(s.xsave.ymm_high.data(), from + kLegacySize + kHeaderSize, kYmmSize);
  // The header of the standard format: what else the host keeps is not the guest's.
  constexpr u8 kOurs = x86::xcr0::kX87 | x86::xcr0::kSse | x86::xcr0::kAvx;
  s.xsave.header[0] &= kOurs;
  std::memset(s.xsave.header.data() + 1, 0, kHeaderSize - 1);
}

void to_events(const VcpuState& s, kvm_vcpu_events& e) {
  e = {};
  e.interrupt.shadow = static_cast<u8>((s.shadow_mov_ss ? KVM_X86_SHADOW_INT_MOV_SS : 0) |
                                       (s.shadow_sti ? KVM_X86_SHADOW_INT_STI : 0));
  e.nmi.pending = s.nmi_pending;
  e.nmi.masked = s.nmi_blocked;
  e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
}

void from_events(const kvm_vcpu_events& e, VcpuState& s) {
  s.shadow_mov_ss = (e.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) != 0;
  s.shadow_sti = (e.interrupt.shadow & KVM_X86_SHADOW_INT_STI) != 0;
  s.nmi_pending = e.nmi.pending != 0;
  s.nmi_blocked = e.nmi.masked != 0;
}

bool delivery_in_progress(const kvm_vcpu_events& e) {
  return e.exception.injected != 0 || e.exception.pending != 0 || e.interrupt.injected != 0 ||
         e.nmi.injected != 0;
}

}  // namespace vellum::kvm
