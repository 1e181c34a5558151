// The display adapter, as QEMU's standard VGA (1234:1111; docs/specs/standard-vga): an IBM VGA with the Bochs
// display interface and linear memory.
//
//   ports 0x3b0..0x3df, 0x1ce..0x1d0; memory 0xa0000..0xbffff    where they are on every PC
//   BAR 0   the display memory                 prefetchable
//   BAR 2   4 KiB: 0x400 ports 0x3c0..0x3df, 0x500 the display interface's registers, 16 bits each
//   ROM     its BIOS
//
// Threads: any vCPU for registers and the window; screen() and text() from any thread. The display memory is
// a block of GuestRam, which vCPUs reach without coming by here.
#pragma once

#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "devices/display/screen.hpp"
#include "devices/legacy/byte_device.hpp"
#include "devices/pci/bus.hpp"
#include "memory/guest_ram.hpp"

namespace vellum::vga {

class Adapter final : public pci::Function, public Snapshottable {
 public:
  static constexpr u64 kDefaultMemory = u64{16} << 20;
  static constexpr unsigned kDevice = 2;  ///< its slot on the bus

  struct State {
    static constexpr std::string_view kKind = "vga";
    static constexpr u32 kVersion = 1;
    pci::FunctionState pci;
    VgaState vga;
    Dispi dispi;
    State() {}
    template <class V>
    void visit(V& v) {
      v(pci), v(vga), v(dispi);
    }
  };

  /// `block`: one of `ram`, a power of two of at least 256 KiB. `rom`: its BIOS, or empty. All but `rom`
  /// outlive this.
  Adapter(pci::Bus& bus, Clock& clock, GuestRam& ram, unsigned block, std::span<const u8> rom,
          const State& state = State());

  // What answers at fixed addresses.
  BusDevice& ports() { return ports_; }
  BusDevice& dispi_ports() { return dispi_ports_; }
  BusDevice& window() { return window_; }

  /// What is shown now. Drawing takes milliseconds, in which vCPUs go on: they are kept from the registers
  /// only while those are copied, and what they write into the display memory meanwhile may show or not, as
  /// on a monitor.
  Screen screen() const;
  std::string text() const;  ///< lines of UTF-8; empty in a graphics mode

  SavedState save() const override;

 private:
  template <u8 (Adapter::*kRead)(u64), void (Adapter::*kWrite)(u64, u8)>
  class Bytes final : public ByteDevice {
   public:
    explicit Bytes(Adapter& adapter) : adapter_(adapter) {}

   private:
    u8 read_byte(u64 offset) override { return (adapter_.*kRead)(offset); }
    void write_byte(u64 offset, u8 value) override { (adapter_.*kWrite)(offset, value); }
    Adapter& adapter_;
  };
  template <u64 (Adapter::*kRead)(u64, unsigned), void (Adapter::*kWrite)(u64, unsigned, u64)>
  class Words final : public BusDevice {
   public:
    explicit Words(Adapter& adapter) : adapter_(adapter) {}
    u64 read(u64 offset, unsigned size) override { return (adapter_.*kRead)(offset, size); }
    void write(u64 offset, unsigned size, u64 value) override { (adapter_.*kWrite)(offset, size, value); }

   private:
    Adapter& adapter_;
  };

  struct Registers {
    VgaState vga;
    Dispi dispi;
  };
  Registers registers() const;

  u8 read_port(u64 offset);
  void write_port(u64 offset, u8 value);
  u8 read_window(u64 offset);
  void write_window(u64 offset, u8 value);
  u8 read_memory(u64 offset);
  void write_memory(u64 offset, u8 value);
  u8 read_rom(u64 offset);
  void write_rom(u64, u8) {}
  u64 read_dispi_port(u64 offset, unsigned size);
  void write_dispi_port(u64 offset, unsigned size, u64 value);
  u64 read_registers(u64 offset, unsigned size);
  void write_registers(u64 offset, unsigned size, u64 value);
  void write_dispi(unsigned reg, u16 value);  // with mutex_ held

  void after_config_write(unsigned offset, unsigned size) override;
  void map_memory();

  Clock& clock_;
  GuestRam& ram_;
  const unsigned block_;
  const std::span<u8> memory_;
  const std::vector<u8> rom_;
  mutable std::mutex mutex_;  // vga_, dispi_
  VgaState vga_;
  Dispi dispi_;
  std::mutex map_mutex_;  // of map_memory()

  Bytes<&Adapter::read_port, &Adapter::write_port> ports_{*this};
  Bytes<&Adapter::read_window, &Adapter::write_window> window_{*this};
  Bytes<&Adapter::read_memory, &Adapter::write_memory> memory_bar_{*this};
  Bytes<&Adapter::read_rom, &Adapter::write_rom> rom_bar_{*this};
  Words<&Adapter::read_dispi_port, &Adapter::write_dispi_port> dispi_ports_{*this};
  Words<&Adapter::read_registers, &Adapter::write_registers> registers_bar_{*this};
};

}  // namespace vellum::vga
