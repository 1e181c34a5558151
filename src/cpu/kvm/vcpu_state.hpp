// One vCPU's registers in the kernel: moved by group, and only those that are asked for.
//
// What is pushed stays in the kvm_run page (general and segment registers, events) until the next entry takes
// it along; everything else is moved by a system call at once.
#pragma once

#include "cpu/engine.hpp"
#include "cpu/kvm/vm.hpp"
#include "cpu/state.hpp"

namespace vellum::kvm {

class Registers {
 public:
  Registers(const Vm& vm, const Vm::Vcpu& vcpu, unsigned index) : vm_(vm), vcpu_(vcpu), index_(index) {}

  /// Copies groups; not `activity` and `sipi_vector`, which the engine keeps, nor tsc_adjust. An error names
  /// what the kernel refused.
  Result<> pull(StateMask groups, VcpuState& to) const;
  Result<> push(StateMask groups, const VcpuState& from, u64 apic_base);

  /// Sets TSC_ADJUST, and the TSC to the host's minus `host_lead` plus it.
  Result<> set_tsc(u64 host_lead, u64 adjust);

  Result<kvm_vcpu_events> events() const;
  /// As they will be at the next entry.
  Result<> system(kvm_sregs& to) const;

  /// Whether the kernel has this MSR for this vCPU.
  bool get(u32 msr, u64& value) const;
  bool set(u32 msr, u64 value);

 private:
  Result<> pull_system(VcpuState& to) const;
  Result<> push_system(const VcpuState& from, u64 apic_base);
  Result<> pull_msrs(VcpuState& to) const;
  Result<> push_msrs(const VcpuState& from);
  Result<> refused(const char* what, int result) const;
  /// Whether `group` (KVM_SYNC_X86_…) waits in the page to be taken along.
  bool waits(u64 group) const { return (vcpu_.run->kvm_dirty_regs & group) != 0; }
  void leave_in_page(u64 group) { vcpu_.run->kvm_dirty_regs |= group; }

  const Vm& vm_;
  const Vm::Vcpu& vcpu_;
  unsigned index_;
};

}  // namespace vellum::kvm
