// The engine over /dev/kvm: the guest's instructions run on the processor itself, with nested paging.
// Interrupt controllers and timers are the board's own, in user space, but for the local APICs, which are the
// kernel's where it can. docs/design/kvm.md.
#pragma once

#include <memory>
#include <optional>

#include "cpu/engine.hpp"
#include "cpu/kvm/kick.hpp"
#include "cpu/kvm/vcpu_state.hpp"
#include "cpu/kvm/vm.hpp"
#include "cpu/system/vcpu.hpp"

namespace vellum::kvm {

class KvmEngine final : public Engine {
 public:
  /// The referenced objects outlive the engine; no other thread sets a hazard yet. The vCPU starts as
  /// reset_state(index == 0).
  static Result<std::unique_ptr<KvmEngine>> create(Vm& vm, unsigned index, AddressSpace& space,
                                                   VcpuBoard& board, Clock& clock, const x86::CpuModel& model,
                                                   Hazards& hazards);
  ~KvmEngine() override;

  /// `budget` is not looked at: nothing counts steps here.
  Exit run(Budget budget) override;
  void pull(StateMask groups, VcpuState& to) override;
  void push(StateMask groups, const VcpuState& from) override;
  /// Nothing: what the kernel derives from memory it keeps up by itself.
  void invalidate(GuestPhysRange) override {}
  u64 retired() const override { return 0; }
  u64 steps() const override { return entries_.get(); }
  void stats(std::vector<StatRow>& rows) const override;

  /// The local APIC in the kernel (Vm::kernel_apics()). Only while run() is not running.
  Result<KernelApicState> apic() const;
  Result<> set_apic(const KernelApicState& state);

  /// Where this vCPU's page of KVM's clock is, as its MSR has it (Vm::offers_clock()). Only while run() is
  /// not running.
  u64 clock_page() const;
  Result<> set_clock_page(u64 value);

  /// An MSR as the kernel has it for this vCPU; false: it has none, or does not take the value. Only while
  /// run() is not running.
  bool msr(u32 number, u64& value) const { return registers_.get(number, value); }
  bool set_msr(u32 number, u64 value) { return registers_.set(number, value); }

  /// The context, for tracing.
  Vcpu& vcpu() { return v_; }

 private:
  KvmEngine(Vm& vm, Vm::Vcpu vcpu, unsigned index, AddressSpace& space, VcpuBoard& board, Clock& clock,
            const x86::CpuModel& model, Hazards& hazards);
  Result<> start();

  // What run() does, in this order, again and again.
  std::optional<Exit> before_entry();
  int enter();
  std::optional<Exit> after_exit();

  std::optional<Exit> take_hazards(u32 pending);
  std::optional<Exit> reset_by_init();
  void start_by_sipi();
  std::optional<Exit> inject_interrupt();
  Exit leave(Exit exit);
  /// What the last exit's access answered reaches the registers.
  void complete_access();
  /// KVM_RUN for its side effects, outside of the loop; `briefly`: without an instruction of the guest.
  int enter_aside(bool briefly);

  void port_io();
  void mmio();
  /// False: it is no memory.
  bool access_memory(GuestPhys at, std::span<u8> data, bool write);
  void msr_read();
  void msr_write();
  Exit shut_down();
  Exit failed(std::string reason);

  /// The task priority that the guest has in CR8 goes to the APIC, and the other way.
  void priority_to_board();
  void priority_from_board();
  u64 apic_base() const;

  // activity.cpp: with an APIC in the kernel, HLT, INIT and SIPI are the kernel's.
  Result<> pull_activity(VcpuState& to);
  Result<> push_activity(const VcpuState& from);
  /// What was pushed reaches the kernel, and the page's flags are of now.
  void flush_page();
  void vector_may_have_gone(int result);
  void end_of_interrupt();

  Vm& vm_;
  const bool kernel_apic_;
  Vm::Vcpu kvm_;
  Registers registers_;
  VcpuKicker kicker_;
  /// Of its state only what the kernel does not keep is valid here: activity, sipi_vector, tsc_adjust; the
  /// rest is scratch. The MSR table works on it.
  Vcpu v_;
  std::optional<Error> refused_;  ///< by push() or pull(): run() says so
  bool completion_due_ = false;   ///< the last exit's access is completed by the next entry
  bool flags_current_ = false;    ///< kvm_run's if_flag and ready_for_interrupt_injection are of this state
  bool vector_waits_ = false;     ///< an ExtINT's, in the kernel, where no register shows it
  u8 cr8_ = 0;                    ///< as APIC and guest last agreed

  Counter entries_, kicks_, halts_, port_reads_, port_writes_, mmio_reads_, mmio_writes_, msr_reads_,
      msr_writes_, windows_, priorities_, interrupts_, nmis_, eois_, pulls_, pushes_;
};

}  // namespace vellum::kvm
