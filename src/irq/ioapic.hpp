// The I/O APIC: 24 inputs, a redirection table, messages to the local APICs (82093AA data sheet; version 0x20
// with the EOI register, as in the ICH: Intel 82801 data sheets, "APIC").
//
// Memory-mapped, 4 KiB at 0xfec00000:   0x00 IOREGSEL   0x10 IOWIN   0x40 EOI
//
// Threads: any. Its lock is held while messages go to the local APICs (lock order: 8259, I/O APIC, local
// APIC).
#pragma once

#include <array>
#include <mutex>

#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "irq/apic_bus.hpp"
#include "irq/line.hpp"
#include "memory/bus.hpp"

namespace vellum {

class IoApic final : public BusDevice, public EoiListener, public Snapshottable, public StatSource {
 public:
  static constexpr u64 kDefaultAddress = 0xfec0'0000;
  static constexpr u64 kSize = 0x1000;
  static constexpr unsigned kPins = 24;

  struct State {
    static constexpr std::string_view kKind = "ioapic";
    static constexpr u32 kVersion = 1;
    u8 id = 0;
    u8 select = 0;
    u32 asserted = 0;  ///< inputs whose device asserts them
    std::array<u64, kPins> redirection{};
    State() { redirection.fill(u64{1} << 16); }  // masked
    bool operator==(const State&) const = default;
    template <class V>
    void visit(V& v) {
      v(id), v(select), v(asserted), v(redirection);
    }
  };

  /// `active_low_pins`: inputs that the board wires active low. A guest must program each input's polarity to
  /// match its wire (the ACPI tables say how it is wired), or it sees the inverse of the signal, as on
  /// hardware.
  explicit IoApic(ApicBus& bus, u32 active_low_pins = 0, const State& state = State());

  void set_pin(unsigned pin, bool asserted);
  /// A local APIC's EOI of a level-triggered interrupt.
  void end_of_interrupt(u8 vector) override;

  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;
  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  // All with mutex_ held.
  bool active(unsigned pin) const;
  void send(unsigned pin);
  void service_level(unsigned pin);
  u32 read_register() const;
  void write_register(u32 value);
  void write_redirection(unsigned pin, u64 value);

  ApicBus& bus_;
  const u32 active_low_pins_;
  mutable std::mutex mutex_;
  State state_;
  std::array<Counter, kPins> sent_;
};

}  // namespace vellum
