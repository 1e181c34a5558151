// virtio over MMIO, version 2 (virtio 1.2 §4.2): 32-bit registers in the first 0x100 bytes, the device's
// configuration space behind them, one level-triggered interrupt line.
//
// Threads: registers are accessed from any vCPU's thread, interrupts come from any. Two leaf locks: one for
// the selectors, one for the interrupt status, which the line follows.
#pragma once

#include "devices/virtio/device.hpp"
#include "irq/line.hpp"
#include "memory/bus.hpp"

namespace vellum::virtio {

class MmioTransport final : public Transport, public Snapshottable, public BusDevice {
 public:
  static constexpr u64 kQueueNotify = 0x050;  ///< written with a queue's number, which is then looked at

  struct State {
    static constexpr std::string_view kKind = "virtio-mmio";
    static constexpr u32 kVersion = 1;
    u32 device_select = 0, driver_select = 0, queue_select = 0;
    u8 interrupts = 0;  ///< InterruptStatus
    State() {}
    template <class V>
    void visit(V& v) {
      v(device_select), v(driver_select), v(queue_select), v(interrupts);
    }
  };

  /// Connects the device. It, `ram` and `line` outlive this.
  MmioTransport(GuestRam& ram, InterruptLine& line, Device& device, const State& state = State());
  ~MmioTransport() override { device_.disconnect(); }

  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;

  void interrupt_queue(unsigned) override { raise(kUsedBuffer); }
  void interrupt_config() override { raise(kConfigChange); }
  DmaView dma() override { return DmaView(ram_); }
  SavedState save() const override;

 private:
  // §4.2.2: bits of InterruptStatus.
  static constexpr u8 kUsedBuffer = 1, kConfigChange = 2;

  u32 read_register(u64 offset);
  void write_register(u64 offset, u32 value);
  void set_status(u8 value);
  void raise(u8 bit);
  void acknowledge(u8 bits);

  GuestRam& ram_;
  InterruptLine& line_;
  Device& device_;
  mutable std::mutex registers_mutex_;
  State registers_;  ///< without interrupts
  mutable std::mutex interrupts_mutex_;
  u8 interrupts_;
};

}  // namespace vellum::virtio
