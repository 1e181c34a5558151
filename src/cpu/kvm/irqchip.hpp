// Who keeps the local APICs of a machine on KVM.
#pragma once

#include <array>

#include "base/int.hpp"

namespace vellum::kvm {

enum class Irqchip : u8 { kAuto, kKernel, kUser };  ///< kAuto: user, until the kernel's have run on hardware

/// Inputs of the board's I/O APIC, whose EOIs the kernel has to report.
inline constexpr unsigned kIoApicPins = 24;

/// A message to local APICs, in the form of an MSI (SDM vol. 3A §11.11).
struct Message {
  u64 address = 0;
  u32 data = 0;
  bool operator==(const Message&) const = default;
};

/// Hears of the end of level-triggered interrupts of the I/O APIC's, as the kernel's local APICs report it.
class EoiSink {
 public:
  virtual ~EoiSink() = default;
  /// On a vCPU's thread.
  virtual void eoi(u8 vector) = 0;
};

/// A local APIC in the kernel: KVM_GET_LAPIC's registers, one each 16 bytes, and what stands beside them.
struct KernelApicState {
  u64 base = 0;  ///< IA32_APIC_BASE
  std::array<u32, 0x40> registers{};
  u64 tsc_deadline = 0;  ///< of the vCPU's TSC without TSC_ADJUST
};

}  // namespace vellum::kvm
