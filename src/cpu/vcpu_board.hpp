// What a vCPU asks of the board around it: its local APIC and the interrupt controllers behind that.
// Implemented by the machine; engines and the MMU see only this.
#pragma once

#include "base/int.hpp"

namespace vellum {

class VcpuBoard {
 public:
  virtual ~VcpuBoard() = default;

  /// The processor accepts an external interrupt now (INTA cycle): its vector, or -1 if none is left to
  /// deliver. Moves the vector from IRR to ISR. Clears Hazards::kInterrupt when nothing deliverable remains.
  virtual int acknowledge_interrupt() = 0;

  /// IA32_APIC_BASE (0x1b), IA32_TSC_DEADLINE (0x6e0) and x2APIC registers (0x800 to 0x8ff). False: #GP(0).
  /// A TSC deadline is in ticks of the machine's clock (Clock::tsc()): the vCPU's TSC_ADJUST is taken off
  /// already.
  virtual bool read_apic_msr(u32 msr, u64& value) = 0;
  virtual bool write_apic_msr(u32 msr, u64 value) = 0;

  /// Guest-physical address of the 4 KiB xAPIC page, or ~0 when the APIC is disabled or in x2APIC mode.
  virtual u64 apic_page() const = 0;
  virtual u64 read_apic_page(u32 offset, unsigned size) = 0;
  virtual void write_apic_page(u32 offset, unsigned size, u64 value) = 0;

  /// CR8: the task-priority class, 0 to 15.
  virtual u8 read_cr8() = 0;
  virtual void write_cr8(u8 value) = 0;

  /// The processor's FERR# output changes (x87 errors while CR0.NE is clear). Returns its IGNNE# input. A
  /// board that does not connect the two, as that of a PC's further processors, leaves this as it is.
  virtual bool drive_ferr(bool) { return false; }

  /// The initial APIC id, for CPUID.
  virtual u32 apic_id() const = 0;

  // What CPUID says of the machine around this vCPU. A board with several vCPUs, or whose APIC timer counts
  // at another rate, overrides these.
  virtual u32 cpu_count() const { return 1; }
  virtual u64 apic_timer_hz() const { return 1'000'000'000; }  ///< before the divide configuration
};

}  // namespace vellum
