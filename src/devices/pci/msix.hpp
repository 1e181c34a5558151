// MSI-X (PCI Local Bus Specification 3.0, §6.8.2): a table of messages and the bits of those that wait, both
// in one BAR; the capability is PciFunction's.
//
//   offset 0        table: per vector 16 bytes: address, upper address, data, vector control (bit 0: masked)
//   pba_offset()    pending bits, 64 a quadword
//
// Threads: any. Lock order: its own, then what delivers the message.
#pragma once

#include <mutex>
#include <vector>

#include "base/bits.hpp"
#include "base/stats.hpp"
#include "irq/msi.hpp"
#include "memory/bus.hpp"

namespace vellum::pci {

struct MsixState {
  struct Entry {
    u64 address = 0;
    u32 data = 0;
    u32 control = 1;
    template <class V>
    void visit(V& v) {
      v(address), v(data), v(control);
    }
  };
  std::vector<Entry> table;
  std::vector<u64> pending;
  template <class V>
  void visit(V& v) {
    v(table), v(pending);
  }
};

class Msix final : public BusDevice {
 public:
  /// `vectors`: 1 to 2048. A state of another number of vectors counts as that of power-on.
  /// `ports`: where each vector gets a port of its own, or null: all messages go to `sink`.
  Msix(MsiSink& sink, unsigned vectors, const MsixState& state = {}, MsiPorts* ports = nullptr);

  unsigned vectors() const { return vectors_; }
  u64 pba_offset() const { return std::max<u64>(align_up(u64{vectors_} * 16, 8), bar_size() / 2); }
  /// A power of two, 4 KiB at least.
  u64 bar_size() const;

  /// From the capability's message control and the function's bus master bit.
  void set_control(bool enabled, bool function_masked, bool bus_master);
  bool enabled() const;

  /// Sends the vector's message, or leaves it pending while it is masked. Out of range: nothing. Any thread.
  void raise(unsigned vector);

  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;
  MsixState state() const;

 private:
  // With mutex_ held.
  bool masked(unsigned vector) const { return function_masked_ || (state_.table[vector].control & 1) != 0; }
  bool pending(unsigned vector) const { return (state_.pending[vector / 64] >> (vector % 64) & 1) != 0; }
  void send_pending();
  MsiSink& sink_of(unsigned vector) { return ports_.empty() ? sink_ : *ports_[vector]; }
  u32 read_word(u64 offset) const;
  void write_word(u64 offset, u32 value);

  MsiSink& sink_;
  std::vector<std::unique_ptr<MsiSink>> ports_;  ///< by vector, or empty
  const unsigned vectors_;
  mutable std::mutex mutex_;
  MsixState state_;
  bool enabled_ = false, function_masked_ = false, bus_master_ = false;
};

}  // namespace vellum::pci
