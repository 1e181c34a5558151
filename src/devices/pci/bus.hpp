// The PCI bus of the board, number 0: which function is where, and what the functions share.
//
// Threads: add() while the board is built; everything else from any thread.
#pragma once

#include <array>
#include <mutex>

#include "devices/pci/decoder.hpp"
#include "devices/pci/function.hpp"
#include "irq/msi.hpp"
#include "memory/address_space.hpp"

namespace vellum::pci {

/// Takes the bus's four shared interrupt wires, PIRQA# to PIRQD# (0 to 3).
class PirqSink {
 public:
  virtual ~PirqSink() = default;
  virtual void set_pirq(unsigned pirq, bool asserted) = 0;
};

/// Which of the four wires a function's pin (1 to 4) drives: device n's INTA# is wired to PIRQ (n - 1) mod 4,
/// as on QEMU's i440FX board, and the following pins to the following wires.
constexpr unsigned pirq_of(unsigned device, unsigned pin) {
  return (device + pin + 2) & 3;
}

class Bus final : public StatSource {
 public:
  /// I/O APIC inputs 16 to 19 are the four wires; active low.
  static constexpr unsigned kFirstGsi = 16;

  /// Answers behind both buses of `space`, which outlives this.
  Bus(AddressSpace& space, MsiSink& msi);

  /// The bridge that the wires lead to. Before any function is added.
  void connect(PirqSink& sink) { pirq_sink_ = &sink; }
  /// Puts a function into a slot, where it answers from now on. Our bug if the slot is taken.
  void add(u8 devfn, Function& function);
  /// The first device number from `from` on with nothing in it; nothing if all are taken.
  std::optional<unsigned> free_device(unsigned from) const;
  Function* at(u8 devfn) const { return functions_[devfn]; }

  /// GUEST-CONTROLLED: all. An access of 1, 2 or 4 bytes within one doubleword; no function there: all ones.
  u32 read_config(unsigned bus, u8 devfn, unsigned offset, unsigned size);
  void write_config(unsigned bus, u8 devfn, unsigned offset, unsigned size, u32 value);

  Decoder& memory() { return memory_; }
  Decoder& ports() { return ports_; }
  MsiSink& msi() { return msi_; }
  /// MSI-X vectors that are added from now on have a port each. `ports` outlives their functions.
  void set_msi_ports(MsiPorts& ports) { msi_ports_ = &ports; }
  MsiPorts* msi_ports() { return msi_ports_; }
  GuestRam& ram() { return space_.ram; }
  /// A function's pin (1 to 4) changes.
  void set_interrupt(u8 devfn, unsigned pin, bool asserted);

  void stats(std::vector<StatRow>& rows) const override;

 private:
  AddressSpace& space_;
  MsiSink& msi_;
  MsiPorts* msi_ports_ = nullptr;
  Decoder memory_{"pci memory", u64{1} << 52};
  Decoder ports_{"pci ports", 0x10000};
  PirqSink* pirq_sink_ = nullptr;
  std::array<Function*, 256> functions_{};
  std::mutex interrupt_mutex_;
  std::array<unsigned, 4> asserting_{};  ///< how many pins assert each wire
};

}  // namespace vellum::pci
