// What the vCPUs of one machine share: the kernel's VM with guest RAM in its memory slots, what this KVM can
// do, and which MSRs come to us.
#pragma once

#include <memory>
#include <vector>

#include "cpu/kvm/api.hpp"
#include "memory/guest_ram.hpp"

namespace vellum::kvm {

/// What is used where it exists.
struct Abilities {
  bool sync_regs = false;   ///< registers are handed over in the kvm_run page
  bool sregs2 = false;      ///< PDPTEs can be read and set
  bool tsc_offset = false;  ///< the TSC can be set exactly
  std::size_t run_size = 0;
};

class Vm {
 public:
  /// `ram` outlives the VM. Errors say what this host lacks.
  static Result<std::unique_ptr<Vm>> create(KvmApi& api, GuestRam& ram);

  struct Vcpu {
    Handle fd;
    RunPage run;
  };
  Result<Vcpu> add_vcpu(unsigned index);

  KvmApi& api() const { return api_; }
  const Abilities& abilities() const { return abilities_; }
  /// KVM_GET_SUPPORTED_CPUID.
  const std::vector<kvm_cpuid_entry2>& supported_cpuid() const { return cpuid_; }

 private:
  Vm(KvmApi& api, Handle system, Handle vm) : api_(api), system_(std::move(system)), vm_(std::move(vm)) {}
  Result<> look_at_abilities();
  Result<> set_up();
  Result<> map(GuestRam& ram);

  KvmApi& api_;
  Handle system_, vm_;
  Abilities abilities_;
  std::vector<kvm_cpuid_entry2> cpuid_;
};

/// What KVM_GET_SUPPORTED_CPUID says, growing the table until it fits.
Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const Handle& system);

/// The MSRs that the board or the machine's clock answer, not the kernel.
bool is_routed_msr(u32 index);

}  // namespace vellum::kvm
