#include "cpu/kvm/vcpu_state.hpp"

#include <spdlog/spdlog.h>

#include <array>
#include <cstddef>

#include "cpu/kvm/registers.hpp"
#include "x86/msr.hpp"

namespace vellum::kvm {
namespace {

namespace msr = x86::msr;

bool pae_paging(const VcpuState& s) {
  return (s.cr0 & x86::cr0::kPg) != 0 && (s.cr4 & x86::cr4::kPae) != 0 && (s.msr.efer & x86::efer::kLma) == 0;
}

struct MsrField {
  u32 index;
  u64 MsrState::*field;
};
// EFER travels with the control registers, TSC_ADJUST with the TSC.
constexpr std::array kFields{
    MsrField{msr::kStar, &MsrState::star},
    MsrField{msr::kLstar, &MsrState::lstar},
    MsrField{msr::kCstar, &MsrState::cstar},
    MsrField{msr::kSfmask, &MsrState::sfmask},
    MsrField{msr::kKernelGsBase, &MsrState::kernel_gs_base},
    MsrField{msr::kTscAux, &MsrState::tsc_aux},
    MsrField{msr::kSysenterCs, &MsrState::sysenter_cs},
    MsrField{msr::kSysenterEsp, &MsrState::sysenter_esp},
    MsrField{msr::kSysenterEip, &MsrState::sysenter_eip},
    MsrField{msr::kPat, &MsrState::pat},
    MsrField{msr::kMiscEnable, &MsrState::misc_enable},
    MsrField{msr::kDebugctl, &MsrState::debugctl},
    MsrField{msr::kMcgStatus, &MsrState::mcg_status},
    MsrField{msr::kSpecCtrl, &MsrState::spec_ctrl},
    MsrField{msr::kMtrrDefType, &MsrState::mtrr_def_type},
};
constexpr std::array<u32, 11> kFixedMtrrs{0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                          0x26b, 0x26c, 0x26d, 0x26e, 0x26f};

/// Calls f(index, value&) for every MSR that VcpuState has a place for.
template <class State, class F>
void for_each_msr(State& m, F f) {
  for (const MsrField& row : kFields) f(row.index, m.*row.field);
  for (std::size_t i = 0; i < kFixedMtrrs.size(); ++i) f(kFixedMtrrs[i], m.mtrr_fixed[i]);
  for (u32 i = 0; i < m.mtrr_variable.size(); ++i) f(msr::kMtrrPhysBase0 + i, m.mtrr_variable[i]);
}

/// kvm_msrs with room for one entry, as the kernel reads it (in C++ the header's own has the entries
/// elsewhere).
struct OneMsr {
  u32 count = 1, pad = 0;
  kvm_msr_entry entry;
};
static_assert(offsetof(OneMsr, entry) == 2 * sizeof(u32));

/// Whether the kernel has this MSR for this vCPU.
bool get_msr(const Handle& vcpu, u32 index, u64& value) {
  OneMsr one{.entry = {index, 0, 0}};
  if (vcpu.call(kGetMsrs, &one) != 1) return false;
  value = one.entry.data;
  return true;
}

bool set_msr(const Handle& vcpu, u32 index, u64 value) {
  OneMsr one{.entry = {index, 0, value}};
  return vcpu.call(kSetMsrs, &one) == 1;
}

}  // namespace

Result<> Registers::refused(const char* what, int result) const {
  return fail_errno(fmt::format("/dev/kvm: vCPU {}: {}", index_, what), -result);
}

Result<kvm_vcpu_events> Registers::events() const {
  if (waits(KVM_SYNC_X86_EVENTS)) return vcpu_.run->s.regs.events;
  kvm_vcpu_events e{};
  if (const int result = vcpu_.fd.call(KVM_GET_VCPU_EVENTS, &e); result < 0)
    return tl::unexpected(refused("KVM_GET_VCPU_EVENTS", result).error());
  return e;
}

bool Registers::get(u32 msr, u64& value) const {
  return get_msr(vcpu_.fd, msr, value);
}

bool Registers::set(u32 msr, u64 value) {
  return set_msr(vcpu_.fd, msr, value);
}

Result<> Registers::system(kvm_sregs& to) const {
  if (waits(KVM_SYNC_X86_SREGS)) {
    to = vcpu_.run->s.regs.sregs;
  } else if (const int result = vcpu_.fd.call(KVM_GET_SREGS, &to); result < 0) {
    return refused("KVM_GET_SREGS", result);
  }
  return {};
}

Result<> Registers::pull_system(VcpuState& to) const {
  kvm_sregs sregs{};
  VELLUM_TRY(system(sregs));
  from_sregs(sregs, to);
  if (!pae_paging(to) || !vm_.abilities().sregs2) return {};
  kvm_sregs2 more{};
  if (const int result = vcpu_.fd.call(KVM_GET_SREGS2, &more); result < 0)
    return refused("KVM_GET_SREGS2", result);
  if ((more.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) != 0)
    for (unsigned i = 0; i < 4; ++i) to.pdpte[i] = more.pdptrs[i];
  return {};
}

Result<> Registers::push_system(const VcpuState& from, u64 apic_base) {
  kvm_sregs sregs{};
  to_sregs(from, sregs);
  sregs.apic_base = apic_base;
  sregs.cr8 = vcpu_.run->cr8;
  // With PAE paging the PDPTEs go along, which the page has no place for. Without SREGS2 the kernel loads
  // them from memory.
  if (pae_paging(from) && vm_.abilities().sregs2) {
    kvm_sregs2 all{};
    all.cs = sregs.cs, all.ds = sregs.ds, all.es = sregs.es, all.fs = sregs.fs, all.gs = sregs.gs;
    all.ss = sregs.ss, all.tr = sregs.tr, all.ldt = sregs.ldt, all.gdt = sregs.gdt, all.idt = sregs.idt;
    all.cr0 = sregs.cr0, all.cr2 = sregs.cr2, all.cr3 = sregs.cr3, all.cr4 = sregs.cr4, all.cr8 = sregs.cr8;
    all.efer = sregs.efer, all.apic_base = sregs.apic_base;
    all.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
    for (unsigned i = 0; i < 4; ++i) all.pdptrs[i] = from.pdpte[i];
    vcpu_.run->kvm_dirty_regs &= ~u64{KVM_SYNC_X86_SREGS};
    const int result = vcpu_.fd.call(KVM_SET_SREGS2, &all);
    return result < 0 ? refused("KVM_SET_SREGS2", result) : Result<>();
  }
  if (vm_.abilities().sync_regs) {
    vcpu_.run->s.regs.sregs = sregs;
    leave_in_page(KVM_SYNC_X86_SREGS);
    return {};
  }
  const int result = vcpu_.fd.call(KVM_SET_SREGS, &sregs);
  return result < 0 ? refused("KVM_SET_SREGS", result) : Result<>();
}

Result<> Registers::pull_msrs(VcpuState& to) const {
  for_each_msr(to.msr, [this](u32 index, u64& value) { get_msr(vcpu_.fd, index, value); });
  return {};
}

// The kernel refuses what this processor or its CPUID lacks; such an MSR has no state to lose.
Result<> Registers::push_msrs(const VcpuState& from) {
  for_each_msr(from.msr, [this](u32 index, const u64& value) {
    u64 now = 0;
    if (get_msr(vcpu_.fd, index, now) && now == value) return;
    if (!set_msr(vcpu_.fd, index, value) && value != 0)
      spdlog::debug("/dev/kvm: vCPU {}: MSR {:#x} cannot be {:#x}", index_, index, value);
  });
  return {};
}

Result<> Registers::pull(StateMask groups, VcpuState& to) const {
  const auto wanted = [groups](StateMask group) { return any(groups & group); };
  if (wanted(StateMask::kGeneral)) {
    kvm_regs regs{};
    if (waits(KVM_SYNC_X86_REGS)) {
      regs = vcpu_.run->s.regs.regs;
    } else if (const int result = vcpu_.fd.call(KVM_GET_REGS, &regs); result < 0) {
      return refused("KVM_GET_REGS", result);
    }
    from_regs(regs, to);
  }
  if (wanted(StateMask::kSegments | StateMask::kControl)) VELLUM_TRY(pull_system(to));
  if (wanted(StateMask::kControl)) {
    kvm_xcrs xcrs{};
    if (vcpu_.fd.call(KVM_GET_XCRS, &xcrs) == 0 && xcrs.nr_xcrs > 0) to.xcr0 = xcrs.xcrs[0].value;
  }
  if (wanted(StateMask::kDebug)) {
    kvm_debugregs regs{};
    if (const int result = vcpu_.fd.call(KVM_GET_DEBUGREGS, &regs); result < 0)
      return refused("KVM_GET_DEBUGREGS", result);
    from_debugregs(regs, to);
  }
  if (wanted(StateMask::kVector)) {
    XsaveBytes area{};
    if (const int result = vcpu_.fd.call(kGetXsave, &area); result < 0)
      return refused("KVM_GET_XSAVE", result);
    from_xsave(area, to);
  }
  if (wanted(StateMask::kMsrs)) VELLUM_TRY(pull_msrs(to));
  if (wanted(StateMask::kActivity)) {
    VELLUM_TRY_ASSIGN(e, events());
    from_events(e, to);
  }
  return {};
}

Result<> Registers::push(StateMask groups, const VcpuState& from, u64 apic_base) {
  const auto wanted = [groups](StateMask group) { return any(groups & group); };
  const bool in_page = vm_.abilities().sync_regs;
  if (wanted(StateMask::kGeneral)) {
    kvm_regs& regs = vcpu_.run->s.regs.regs;
    to_regs(from, regs);
    if (in_page)
      leave_in_page(KVM_SYNC_X86_REGS);
    else if (const int result = vcpu_.fd.call(KVM_SET_REGS, &regs); result < 0)
      return refused("KVM_SET_REGS", result);
  }
  if (wanted(StateMask::kControl)) {
    kvm_xcrs xcrs{};
    xcrs.nr_xcrs = 1;
    xcrs.xcrs[0].value = from.xcr0;
    if (const int result = vcpu_.fd.call(KVM_SET_XCRS, &xcrs); result < 0 && from.xcr0 != x86::xcr0::kX87)
      return refused("KVM_SET_XCRS", result);
  }
  if (wanted(StateMask::kSegments | StateMask::kControl)) VELLUM_TRY(push_system(from, apic_base));
  if (wanted(StateMask::kDebug)) {
    kvm_debugregs regs{};
    to_debugregs(from, regs);
    if (const int result = vcpu_.fd.call(KVM_SET_DEBUGREGS, &regs); result < 0)
      return refused("KVM_SET_DEBUGREGS", result);
  }
  if (wanted(StateMask::kVector)) {
    XsaveBytes area{};
    to_xsave(from, area);
    if (const int result = vcpu_.fd.call(kSetXsave, &area); result < 0)
      return refused("KVM_SET_XSAVE", result);
  }
  if (wanted(StateMask::kMsrs)) VELLUM_TRY(push_msrs(from));
  if (wanted(StateMask::kActivity)) {
    kvm_vcpu_events& e = vcpu_.run->s.regs.events;
    to_events(from, e);
    if (in_page)
      leave_in_page(KVM_SYNC_X86_EVENTS);
    else if (const int result = vcpu_.fd.call(KVM_SET_VCPU_EVENTS, &e); result < 0)
      return refused("KVM_SET_VCPU_EVENTS", result);
  }
  return {};
}

Result<> Registers::set_tsc(u64 host_lead, u64 adjust) {
  if (!set_msr(vcpu_.fd, msr::kTscAdjust, adjust) && adjust != 0)
    return fail(ErrorCode::kHost, "/dev/kvm: vCPU {}: TSC_ADJUST cannot be set", index_);
  u64 offset = adjust - host_lead;
  kvm_device_attr attribute{};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<u64>(&offset);  // SAFETY: read during the call only
  if (vm_.abilities().tsc_offset && vcpu_.fd.call(KVM_SET_DEVICE_ATTR, &attribute) == 0) return {};
  if (set_msr(vcpu_.fd, msr::kTsc, __builtin_ia32_rdtsc() + offset)) return {};
  return fail(ErrorCode::kHost, "/dev/kvm: vCPU {}: the TSC cannot be set", index_);
}

}  // namespace vellum::kvm
