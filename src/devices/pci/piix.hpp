// The south bridge, as QEMU's `pc` machine presents it: the ISA bridge of a PIIX3 (function 0) with interrupt
// routing, and the power management function of a PIIX4 (function 3), by which firmware finds and moves the
// ACPI registers (82371SB, 82371AB data sheets). An IDE controller would be function 1.
//
//   PIRQA#..PIRQD# ──┬── PIRQRC[A..D] (0x60..0x63) ──> ISA IRQ, level
//                    └── I/O APIC inputs 16..19, active low
#pragma once

#include "devices/pci/bus.hpp"
#include "irq/router.hpp"

namespace vellum::pci {

class Piix3 final : public Function, public PirqSink, public Snapshottable {
 public:
  static constexpr unsigned kDevice = 1;
  static constexpr unsigned kPirqControl = 0x60;
  static constexpr u8 kPirqDisabled = 0x80;

  struct State {
    static constexpr std::string_view kKind = "piix3";
    static constexpr u32 kVersion = 1;
    FunctionState pci;
    State() {}
    template <class V>
    void visit(V& v) {
      v(pci);
    }
  };

  Piix3(Bus& bus, GsiRouter& router, const State& state = State());
  void set_pirq(unsigned pirq, bool asserted) override;
  SavedState save() const override;

 private:
  void config_written(unsigned offset, unsigned size) override;
  void route();  // with route_mutex_ held

  std::array<InterruptLine*, 16> isa_lines_{};  ///< null: no PIRQ can be routed there
  std::array<InterruptLine*, 4> gsi_lines_{};
  std::mutex route_mutex_;
  std::array<u8, 4> control_{};
  std::array<bool, 4> asserted_{};
};

class Piix4Pm final : public Function, public Snapshottable {
 public:
  static constexpr unsigned kFunction = 3;
  static constexpr u64 kPortCount = 64;

  struct State {
    static constexpr std::string_view kKind = "piix4-pm";
    static constexpr u32 kVersion = 1;
    FunctionState pci;
    State() {}
    template <class V>
    void visit(V& v) {
      v(pci);
    }
  };

  /// `registers`: those of ACPI's fixed hardware.
  Piix4Pm(Bus& bus, BusDevice& registers, u64 register_count, const State& state = State());
  /// As a BIOS leaves it.
  void set_base(u16 port);
  /// Where the registers are, or nothing while they are not decoded.
  std::optional<u16> base() const;
  SavedState save() const override;

 private:
  void config_written(unsigned offset, unsigned size) override;
  std::optional<u16> decoded() const;  // with config_mutex_ held

  Decoder& ports_;
  unsigned window_;
};

}  // namespace vellum::pci
