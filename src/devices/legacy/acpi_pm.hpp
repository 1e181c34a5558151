// ACPI's fixed hardware (ACPI 6.5 §4.8.3): PM1a event and control blocks, the power-management timer, the
// power button.
//
// Offsets on the bus (I/O ports from kPort):
//   0  PM1a_STS  16 bits, write 1 to clear        2  PM1a_EN   16 bits
//   4  PM1a_CNT  16 bits                          8  PM_TMR    32 bits, read-only
//
// The machine is always in ACPI mode: SCI_EN reads 1, and the FADT names no SMI command port. Wider and
// narrower accesses work; each byte acts on its own bits.
#pragma once

#include <mutex>

#include "base/clock.hpp"
#include "base/snapshot.hpp"
#include "devices/legacy/machine_control.hpp"
#include "irq/line.hpp"
#include "memory/bus.hpp"

namespace vellum {

class AcpiPm final : public BusDevice, public Snapshottable {
 public:
  static constexpr u64 kPort = 0x600, kPortCount = 12;
  static constexpr u64 kEventOffset = 0, kControlOffset = 4, kTimerOffset = 8;
  static constexpr u64 kTimerHz = 3'579'545;
  /// SLP_TYP of S5, for the DSDT's \_S5.
  static constexpr u8 kSleepTypeS5 = 5;
  /// The PIIX4's own type for S5 (82371AB, PMCNTRL.SUS_TYP), which OVMF writes without asking the DSDT.
  static constexpr u8 kSoftOff = 0;

  struct State {
    static constexpr std::string_view kKind = "acpi-pm";
    static constexpr u32 kVersion = 1;
    u16 status = 0;
    u16 enable = 0;
    u16 control = 0;     ///< without SCI_EN, which is always 1
    u64 seen_ticks = 0;  ///< TMR_STS is computed up to here
    State() {}
    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(status), v(enable), v(control), v(seen_ticks);
    }
  };

  AcpiPm(Clock& clock, InterruptLine& sci, MachineControl& control, const State& state = State());

  /// The user presses the power button: what a well-behaved guest answers by shutting down. Any thread.
  void press_power_button();

  /// All bytes are of one moment: a timer read byte by byte would jump ahead where a carry comes between.
  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;
  SavedState save() const override;

 private:
  void write_byte(u64 offset, u8 value);

  // With mutex_ held.
  u8 byte_at(u64 offset) const;
  void sync();
  void update_sci();
  void rearm();
  void on_timer();

  Clock& clock_;
  InterruptLine& sci_;
  MachineControl& control_;
  mutable std::mutex mutex_;
  State state_;
  Timer timer_;
};

}  // namespace vellum
