#include "cpu/groups.hpp"

namespace vellum {

void copy_groups(StateMask groups, const VcpuState& from, VcpuState& to) {
  const auto wanted = [groups](StateMask group) { return any(groups & group); };
  if (wanted(StateMask::kGeneral)) {
    to.gpr = from.gpr;
    to.rip = from.rip;
    to.rflags = from.rflags;
  }
  if (wanted(StateMask::kSegments)) {
    to.seg = from.seg;
    to.ldtr = from.ldtr;
    to.tr = from.tr;
    to.gdtr = from.gdtr;
    to.idtr = from.idtr;
    to.cpl = from.cpl;
  }
  if (wanted(StateMask::kControl)) {
    to.cr0 = from.cr0;
    to.cr2 = from.cr2;
    to.cr3 = from.cr3;
    to.cr4 = from.cr4;
    to.pdpte = from.pdpte;
    to.xcr0 = from.xcr0;
    to.msr.efer = from.msr.efer;
  }
  if (wanted(StateMask::kDebug)) {
    to.dr = from.dr;
    to.dr6 = from.dr6;
    to.dr7 = from.dr7;
  }
  if (wanted(StateMask::kVector)) to.xsave = from.xsave;
  if (wanted(StateMask::kMsrs)) to.msr = from.msr;
  if (wanted(StateMask::kActivity)) {
    to.activity = from.activity;
    to.shadow_sti = from.shadow_sti;
    to.shadow_mov_ss = from.shadow_mov_ss;
    to.nmi_blocked = from.nmi_blocked;
    to.nmi_pending = from.nmi_pending;
    to.sipi_vector = from.sipi_vector;
  }
}

}  // namespace vellum
