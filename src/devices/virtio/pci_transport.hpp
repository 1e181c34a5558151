// virtio over PCI (virtio 1.2 §4.1): a function with
//
//   BAR 0   ports: the legacy interface, with PciInterface::kTransitional and kLegacy (pci_legacy.cpp)
//   BAR 1   MSI-X: vectors for configuration changes and for each queue
//   BAR 4   64-bit, prefetchable: 0x0000 common configuration, 0x1000 ISR, 0x2000 device configuration,
//           0x3000 notifications, 4 bytes for each queue
//
// and, as a capability, the window through which firmware reaches these without a mapped BAR.
//
// kLegacy has neither BAR 4 nor capabilities.
//
// Threads: as pci::Function. Its own lock guards selectors and vectors and is taken after the function's.
#pragma once

#include "devices/pci/bus.hpp"
#include "devices/virtio/device.hpp"
#include "devices/virtio/pci_interface.hpp"

namespace vellum::virtio {

class PciTransport final : public pci::Function, public Transport, public Snapshottable, public BusDevice {
 public:
  struct State {
    static constexpr std::string_view kKind = "virtio-pci";
    static constexpr u32 kVersion = 2;
    pci::FunctionState pci;
    u32 device_select = 0, driver_select = 0;
    u16 queue_select = 0;
    u16 config_vector = kNoVector;
    u8 isr = 0;
    bool early = false;  ///< the legacy driver uses the device and has not said DRIVER_OK
    std::vector<u16> queue_vectors;
    State() {}
    template <class V>
    void visit(V& v) {
      v(pci), v(device_select), v(driver_select), v(queue_select), v(config_vector), v(isr), v(early),
          v(queue_vectors);
    }
  };

  /// Connects the device, which outlives this. One of a type without transitional_id() is modern.
  PciTransport(pci::Bus& bus, Device& device, const State& state = State(),
               PciInterface interface = PciInterface::kModern);
  ~PciTransport() override { device_.disconnect(); }

  // BAR 4.
  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  void interrupt_queue(unsigned queue) override;
  void interrupt_config() override;
  DmaView dma() override { return Function::dma(); }
  SavedState save() const override;

 private:
  class LegacyPorts final : public BusDevice {
   public:
    explicit LegacyPorts(PciTransport& transport) : transport_(transport) {}
    u64 read(u64 offset, unsigned size) override;
    void write(u64 offset, unsigned size, u64 value) override;

   private:
    PciTransport& transport_;
  };

  void config_read(unsigned offset, unsigned size) override;
  void after_config_write(unsigned offset, unsigned size) override;
  /// The modern interface.
  void add_registers();
  u32 read_common(u64 offset);
  void write_common(u64 offset, unsigned size, u32 value);
  void reset_registers();
  void raise(u16 vector, u8 isr_bit);
  u64 read_isr();
  u16 checked_vector(u32 value);

  /// Where the device's configuration begins in BAR 0.
  u64 legacy_config();
  u32 read_legacy_field(u64 offset);
  void write_legacy_field(u64 offset, u32 value);
  void notify_legacy(u16 queue);
  void set_early(bool early);

  Device& device_;
  LegacyPorts legacy_ports_{*this};
  unsigned window_capability_ = 0;  ///< 0: there is none
  mutable std::mutex registers_mutex_;
  State registers_;  ///< without pci and isr
  /// Guards the ISR, and that the pin follows it; before the function's lock.
  mutable std::mutex isr_mutex_;
  u8 isr_;
};

}  // namespace vellum::virtio
