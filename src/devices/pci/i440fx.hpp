// The host bridge, an Intel 440FX's PMC (82441FX data sheet) as QEMU's `pc` machine presents it, and PCI
// configuration mechanism #1 (PCI Local Bus Specification 3.0, §3.2.2.3.2).
//
//   0xcf8  CONFIG_ADDRESS, 32-bit accesses only:  | 31: enable | 23..16 bus | 15..8 devfn | 7..2 register |
//   0xcfc  CONFIG_DATA, 1, 2 or 4 bytes
//   0xcf9  as a byte, the PIIX's reset control register
#pragma once

#include <array>
#include <functional>
#include <mutex>

#include "devices/pci/bus.hpp"

namespace vellum::pci {

class I440Fx final : public Function, public Snapshottable {
 public:
  static constexpr unsigned kDevice = 0;
  /// The programmable attribute map: PAM0 to PAM6.
  static constexpr unsigned kPam = 0x59, kPamRegisters = 7;

  struct State {
    static constexpr std::string_view kKind = "i440fx";
    static constexpr u32 kVersion = 1;
    FunctionState pci;
    State() {}
    template <class V>
    void visit(V& v) {
      v(pci);
    }
  };

  /// How a part of 0xc0000 to 0xfffff behaves: what is not RAM for an access goes to the ROM behind it.
  struct Segment {
    GuestPhys start;
    u64 size = 0;
    bool read_ram = false, write_ram = false;
  };
  static constexpr unsigned kSegments = 13;  ///< twelve of 16 KiB, then 64 KiB at 0xf0000

  explicit I440Fx(Bus& bus, const State& state = State());

  /// The segments as the registers have them, ascending. Any thread.
  std::array<Segment, kSegments> segments() const;
  /// Called after a guest wrote the attribute map, on that vCPU's thread, in mid-instruction and without any
  /// lock; two vCPUs may be in there at once. Whoever listens asks for segments() and makes memory so. Before
  /// the vCPUs run. It is not called at first: at power-on everything is ROM, a restored board has what was
  /// saved.
  void on_segments_changed(std::function<void()> listener) { listener_ = std::move(listener); }
  /// As a BIOS leaves it: RAM everywhere.
  void open_all_segments();

  SavedState save() const override;

 private:
  void after_config_write(unsigned offset, unsigned size) override;
  std::function<void()> listener_;
};

/// The ports 0xcf8 to 0xcff.
class ConfigPorts final : public BusDevice, public Snapshottable {
 public:
  static constexpr u64 kPort = 0xcf8, kPortCount = 8;
  struct State {
    static constexpr std::string_view kKind = "pci-config-ports";
    static constexpr u32 kVersion = 1;
    u32 address = 0;
    State() {}
    template <class V>
    void visit(V& v) {
      v(address);
    }
  };

  /// `reset`: the reset control register, at its offset 0.
  ConfigPorts(Bus& bus, BusDevice& reset, const State& state = State());
  u64 read(u64 offset, unsigned size) override;
  void write(u64 offset, unsigned size, u64 value) override;
  SavedState save() const override;

 private:
  Bus& bus_;
  BusDevice& reset_;
  std::atomic<u32> address_;
};

}  // namespace vellum::pci
