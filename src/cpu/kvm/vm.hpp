// What the vCPUs of one machine share: the kernel's VM with guest RAM in its memory slots, what this KVM can
// do, and which MSRs come to us.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cpu/kvm/api.hpp"
#include "cpu/kvm/entry_gate.hpp"
#include "cpu/kvm/irqchip.hpp"
#include "cpu/kvm/memory_slots.hpp"
#include "memory/doorbell.hpp"

namespace vellum::kvm {

/// What is used where it exists.
struct Abilities {
  bool sync_regs = false;   ///< registers are handed over in the kvm_run page
  bool sregs2 = false;      ///< PDPTEs can be read and set
  bool tsc_offset = false;  ///< the TSC can be set exactly
  bool set_clock = false;   ///< so can KVM's clock
  bool doorbells = false;   ///< eventfds count writes
  std::size_t run_size = 0;
};

class Vm {
 public:
  /// `ram` outlives the VM. Errors say what this host lacks.
  static Result<std::unique_ptr<Vm>> create(KvmApi& api, GuestRam& ram, Irqchip irqchip = Irqchip::kUser);

  struct Vcpu {
    Handle fd;
    RunPage run;
  };
  Result<Vcpu> add_vcpu(unsigned index);

  /// GuestRam's memory has other places now. Any thread outside of the guest; vCPUs that are in the guest
  /// leave it for so long.
  Result<> remap();
  /// What entries into the guest pass.
  EntryGate& gate() { return gate_; }

  /// Whether the local APICs are the kernel's. PIC, I/O APIC and PIT never are.
  bool kernel_apics() const { return kernel_apics_; }
  /// Any thread. The number of local APICs that took it, or -errno.
  int deliver(const Message& message) const;
  /// What each of the kernel's interrupts sends. The first kIoApicPins are the I/O APIC's inputs, of which
  /// the kernel only takes which are levels, whose EOI the board must see. One caller at a time. 0, or
  /// -errno.
  int set_routes(std::span<const Message> routes) const;
  /// From now on each write to the eventfd `fd` sends what interrupt `number`'s route says. 0, or -errno:
  /// with the local APICs in user space, always.
  int add_interrupt_event(u32 number, int fd) const;

  /// From now on writes to `place` add 1 to the eventfd `fd` and are no exits; or, with `on` false, no more.
  /// Any thread. 0, or -errno.
  int set_doorbell(const DoorbellPlace& place, int fd, bool on) const;

  /// Whether guests get KVM's clock: if this KVM offers it, and lets us set it.
  bool offers_clock() const;
  /// Its nanoseconds.
  Result<u64> clock() const;
  Result<> set_clock(u64 ns) const;

  /// Before vCPUs run; it outlives them.
  void set_eoi_sink(EoiSink& sink) { eoi_sink_ = &sink; }
  EoiSink* eoi_sink() const { return eoi_sink_; }

  KvmApi& api() const { return api_; }
  const Abilities& abilities() const { return abilities_; }
  /// KVM_GET_SUPPORTED_CPUID.
  const std::vector<kvm_cpuid_entry2>& supported_cpuid() const { return cpuid_; }

 private:
  Vm(KvmApi& api, Handle system, Handle vm, GuestRam& ram)
      : api_(api), system_(std::move(system)), vm_(std::move(vm)), slots_(vm_, ram) {}
  Result<> look_at_abilities();
  Result<> set_up();
  Result<> create_apics(Irqchip irqchip);

  KvmApi& api_;
  Handle system_, vm_;
  MemorySlots slots_;
  EntryGate gate_;
  Abilities abilities_;
  bool kernel_apics_ = false;
  EoiSink* eoi_sink_ = nullptr;
  std::vector<kvm_cpuid_entry2> cpuid_;
};

/// What KVM_GET_SUPPORTED_CPUID says, growing the table until it fits.
Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const Handle& system);

/// The MSRs that the board or the machine's clock answer, not the kernel. Those of an APIC in the kernel come
/// only with values that are #GP, which the board says, too.
bool is_routed_msr(u32 index);

}  // namespace vellum::kvm
