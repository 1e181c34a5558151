// A bus with its bridges, RAM, and ears for what comes out; and functions to put on it.
#pragma once

#include <gtest/gtest.h>

#include "devices/pci/firmware.hpp"
#include "devices/pci/i440fx.hpp"
#include "devices/pci/piix.hpp"

namespace vellum::test {

class MessageLog final : public MsiSink {
 public:
  void deliver(const MsiMessage& message) override { messages.push_back(message); }
  std::vector<MsiMessage> messages;
};

/// Remembers accesses; reads give 0x11 × (offset + 1) cut to size.
class Registers final : public BusDevice {
 public:
  u64 read(u64 offset, unsigned size) override { return (0x11 * (offset + 1)) & low_mask(8 * size); }
  void write(u64 offset, unsigned size, u64 value) override { writes.push_back({offset, size, value}); }
  struct Write {
    u64 offset;
    unsigned size;
    u64 value;
    bool operator==(const Write&) const = default;
  };
  std::vector<Write> writes;
};

class Wires final : public pci::PirqSink {
 public:
  void set_pirq(unsigned pirq, bool asserted) override { level[pirq] = asserted; }
  std::array<bool, 4> level{};
};

struct PciBoard {
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  Bus mmio{"mmio"}, ports{"port"};
  AddressSpace space{*ram, mmio, ports};
  MessageLog msi;
  Wires wires;
  pci::Bus bus{space, msi};
  PciBoard() { bus.connect(wires); }
};

class TestFunction final : public pci::Function {
 public:
  explicit TestFunction(PciBoard& board, const pci::FunctionState& state = {})
      : Function(board.bus, "test", {0x1234, 0x5678, 7, 0x020000, 0xabcd, 0xef01, 1, false}) {
    add_bar(0, {pci::BarKind::kMemory32, 0x1000}, memory);
    add_bar(1, {pci::BarKind::kIo, 0x20}, io);
    add_bar(2, {pci::BarKind::kMemory64Prefetchable, 0x4000}, high);
    add_msix(4, 3, state.msix);
    restore(state);
  }
  using Function::dma;
  using Function::function_state;
  using Function::msix;
  using Function::set_interrupt;
  Registers memory, io, high;
};

}  // namespace vellum::test
