// A display adapter on a bus, as software reaches it.
#pragma once

#include "../pci/pci_board.hpp"
#include "devices/display/adapter.hpp"
#include "devices/display/vga_ports.hpp"
#include "devices/display/vga_window.hpp"

namespace vellum::test {

struct Display : testing::Test {
  static constexpr u64 kMemory = 512 << 10;
  static constexpr u32 kBar0 = 0xe000'0000, kBar2 = 0xe100'0000, kRom = 0xe200'0000;

  Display() {
    for (std::size_t n = 0; n < rom.size(); ++n) rom[n] = static_cast<u8>(n * 7);
    adapter.emplace(board.bus, clock, *ram, block, rom);
    board.bus.add(pci::devfn(vga::Adapter::kDevice, 0), *adapter);
    adapter->write_config(pci::kBar0, 4, kBar0);
    adapter->write_config(pci::kBar0 + 8, 4, kBar2);
    adapter->write_config(pci::kCommand, 2, pci::kMemoryEnable);
    out(0x3c2, 0x63);  // ports 0x3dx, memory on
  }

  void out(u16 port, u8 value) { adapter->ports().write(port - vga::kPort, 1, value); }
  u8 in(u16 port) { return static_cast<u8>(adapter->ports().read(port - vga::kPort, 1)); }
  void set(u16 port, u8 index, u8 value) { adapter->ports().write(port - vga::kPort, 2, index | value << 8); }
  void sequencer(u8 index, u8 value) { set(0x3c4, index, value); }
  void graphics(u8 index, u8 value) { set(0x3ce, index, value); }
  void crtc(u8 index, u8 value) { set(0x3d4, index, value); }
  void attribute(u8 index, u8 value) {
    in(0x3da);
    out(0x3c0, index);
    out(0x3c0, value);
  }
  void screen_on() {
    in(0x3da);
    out(0x3c0, 0x20);
  }
  void color(u8 index, u8 red, u8 green, u8 blue) {
    out(0x3c8, index);
    for (const u8 part : {red, green, blue}) out(0x3c9, part);
  }
  void dispi(u16 index, u16 value) {
    adapter->dispi_ports().write(0, 2, index);
    adapter->dispi_ports().write(1, 2, value);
  }
  u16 dispi(u16 index) {
    adapter->dispi_ports().write(0, 2, index);
    return static_cast<u16>(adapter->dispi_ports().read(1, 2));
  }
  void poke(u64 offset, u8 value) { adapter->window().write(offset, 1, value); }
  u8 peek(u64 offset) { return static_cast<u8>(adapter->window().read(offset, 1)); }
  std::span<u8> memory() { return ram->block_bytes(block); }

  /// Text of `columns` × `rows` cells of 8 × 16, at 0xb8000, with two colours: 0 black, 7 white.
  void text_mode(unsigned columns, unsigned rows) {
    const unsigned last_line = rows * 16 - 1;
    sequencer(1, 0x01);
    sequencer(2, 0x03);
    sequencer(4, 0x02);
    graphics(5, 0x10);
    graphics(6, 0x0e);
    crtc(0x01, static_cast<u8>(columns - 1));
    crtc(0x07, static_cast<u8>((last_line >> 7 & 2) | (last_line >> 3 & 0x40)));
    crtc(0x09, 0x0f);
    crtc(0x0a, 0x20);  // no cursor
    crtc(0x12, static_cast<u8>(last_line));
    crtc(0x13, static_cast<u8>(columns / 2));
    crtc(0x17, 0xa3);
    attribute(7, 7);
    attribute(0x12, 0x0f);
    color(7, 0x3f, 0x3f, 0x3f);
    screen_on();
  }
  void print(unsigned column, char character, u8 attribute = 7) {
    poke(0x18000 + 2 * column, static_cast<u8>(character));
    poke(0x18001 + 2 * column, attribute);
  }

  PciBoard board;
  VirtualClock clock{0};
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20, kMemory));
  unsigned block = ram->add_block(kMemory);
  std::vector<u8> rom = std::vector<u8>(3000);
  std::optional<vga::Adapter> adapter;
};

inline u32 pixel(const vga::Screen& screen, unsigned x, unsigned y) {
  const u8* const at = &screen.rgb[(y * screen.width + x) * 3];
  return static_cast<u32>(at[0] << 16 | at[1] << 8 | at[2]);
}

}  // namespace vellum::test
