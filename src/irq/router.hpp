// Global system interrupts (ACPI's numbering, ACPI 6.5 §5.2.13): where a device's line goes.
//
//   ISA IRQ n (0 to 15, not 2)  ->  8259 input n, and I/O APIC input n; IRQ 0 goes to I/O APIC input 2
//                                   (the MADT's interrupt source override says so)
//   GSI 16 to 23                ->  I/O APIC only
//
// Several devices may share a line; it is asserted while any of them asserts it (wired OR). The router keeps
// no state of its own: a restored device asserts its line anew.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "irq/ioapic.hpp"
#include "irq/line.hpp"
#include "irq/pic.hpp"

namespace vellum {

class GsiRouter {
 public:
  /// The ACPI system control interrupt's ISA IRQ.
  static constexpr unsigned kSciIrq = 9;

  /// Connects the 8259's output.
  GsiRouter(Pic& pic, IoApic& ioapic, ApicBus& bus);
  GsiRouter(const GsiRouter&) = delete;
  GsiRouter& operator=(const GsiRouter&) = delete;

  /// A device's own wire onto ISA IRQ `irq` (0 to 15, not 2). Lives as long as the router. Any thread may
  /// drive it.
  InterruptLine& isa_line(unsigned irq);
  /// A device's own wire onto I/O APIC input `gsi`, 16 to 23.
  InterruptLine& gsi_line(unsigned gsi);

 private:
  class Wire final : public InterruptLine {
   public:
    Wire(GsiRouter& router, unsigned number) : router_(router), number_(number) {}
    void set(bool asserted) override { router_.set(*this, asserted); }

   private:
    friend class GsiRouter;
    GsiRouter& router_;
    const unsigned number_;
    bool asserted_ = false;  // guarded by GsiRouter::mutex_
  };
  /// The 8259's INTR output: LINT0 of all processors, and I/O APIC input 0.
  class Intr final : public InterruptLine {
   public:
    Intr(ApicBus& bus, IoApic& ioapic) : bus_(bus), ioapic_(ioapic) {}
    void set(bool asserted) override;

   private:
    ApicBus& bus_;
    IoApic& ioapic_;
  };

  InterruptLine& add_wire(unsigned number);
  void set(Wire& wire, bool asserted);

  Pic& pic_;
  IoApic& ioapic_;
  Intr intr_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Wire>> wires_;
  std::array<unsigned, IoApic::kPins> asserting_{};  ///< how many wires assert each GSI
};

}  // namespace vellum
