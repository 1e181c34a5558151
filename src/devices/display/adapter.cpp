#include "devices/display/adapter.hpp"

#include <bit>

#include "base/assert.hpp"
#include "devices/display/vga_ports.hpp"
#include "devices/display/vga_window.hpp"

namespace vellum::vga {
namespace {

constexpr pci::Identity kIdentity{0x1234, 0x1111, 2, 0x030000, 0x1af4, 0x1100, 0, false};

// In BAR 2.
constexpr u64 kRegistersSize = 0x1000;
constexpr u64 kVgaPorts = 0x400, kVgaPortsEnd = 0x420, kFirstVgaPort = 0x3c0 - kPort;
constexpr u64 kDispiRegisters = 0x500, kDispiRegistersEnd = kDispiRegisters + 2 * Dispi::kRegisters;

}  // namespace

Adapter::Adapter(pci::Bus& bus, Clock& clock, GuestRam& ram, unsigned block, std::span<const u8> rom,
                 const State& state)
    : Function(bus, "vga", kIdentity),
      clock_(clock),
      ram_(ram),
      block_(block),
      memory_(ram.block_bytes(block)),
      rom_(rom.begin(), rom.end()),
      vga_(state.vga),
      dispi_(state.dispi) {
  VELLUM_ASSERT(std::has_single_bit(memory_.size()) && memory_.size() >= (256 << 10), "{} bytes",
                memory_.size());
  sanitise(vga_);
  dispi_.bank &= static_cast<u16>((memory_.size() >> 16) - 1);
  if (dispi_.enabled()) dispi_.fit(memory_.size());
  add_bar(0, {pci::BarKind::kMemory32Prefetchable, memory_.size()}, memory_bar_);
  add_bar(2, {pci::BarKind::kMemory32, kRegistersSize}, registers_bar_);
  if (!rom_.empty()) add_rom(std::bit_ceil(rom_.size()), rom_bar_);
  restore(state.pci);
  map_memory();
}

void Adapter::after_config_write(unsigned offset, unsigned size) {
  const bool command = offset < pci::kStatus && offset + size > pci::kCommand;
  const bool bar = offset < pci::kBar0 + 4 && offset + size > pci::kBar0;
  if (command || bar) map_memory();
}

void Adapter::map_memory() {
  const std::scoped_lock lock(map_mutex_);
  const auto start = bar_address(0);
  ram_.map_block(block_, GuestPhys(start.value_or(0)),
                 start ? Pmap::Access::kReadWrite : Pmap::Access::kNone);
}

u8 Adapter::read_port(u64 offset) {
  const std::scoped_lock lock(mutex_);
  return vga::read_port(vga_, offset, clock_.now_ns());
}

void Adapter::write_port(u64 offset, u8 value) {
  const std::scoped_lock lock(mutex_);
  vga::write_port(vga_, offset, value, dispi_.wide_dac());
}

u8 Adapter::read_window(u64 offset) {
  const std::scoped_lock lock(mutex_);
  return vga::read_window(vga_, memory_, dispi_.bank, offset);
}

void Adapter::write_window(u64 offset, u8 value) {
  const std::scoped_lock lock(mutex_);
  vga::write_window(vga_, memory_, dispi_.bank, offset, value);
}

u8 Adapter::read_memory(u64 offset) {
  return guest_load<u8>(&memory_[offset]);
}

void Adapter::write_memory(u64 offset, u8 value) {
  guest_store<u8>(&memory_[offset], value);
}

u8 Adapter::read_rom(u64 offset) {
  return offset < rom_.size() ? rom_[offset] : 0xff;
}

u64 Adapter::read_dispi_port(u64 offset, unsigned size) {
  const std::scoped_lock lock(mutex_);
  const u16 value = offset == 0 ? dispi_.index : dispi_.read(dispi_.index, memory_.size());
  return value & low_mask(8 * size);
}

void Adapter::write_dispi_port(u64 offset, unsigned size, u64 value) {
  if (size != 2) return;
  const std::scoped_lock lock(mutex_);
  if (offset == 0) {
    dispi_.index = static_cast<u16>(value);
  } else {
    write_dispi(dispi_.index, static_cast<u16>(value));
  }
}

u64 Adapter::read_registers(u64 offset, unsigned size) {
  if (offset >= kVgaPorts && offset + size <= kVgaPortsEnd)
    return ports_.read(offset - kVgaPorts + kFirstVgaPort, size);
  if (offset >= kDispiRegisters && offset + size <= kDispiRegistersEnd && size <= 2) {
    const std::scoped_lock lock(mutex_);
    const unsigned at = static_cast<unsigned>(offset - kDispiRegisters);
    return (dispi_.read(at / 2, memory_.size()) >> (8 * (at % 2))) & low_mask(8 * size);
  }
  return offset < kVgaPorts ? 0 : low_mask(8 * size);  // no EDID; nothing else
}

void Adapter::write_registers(u64 offset, unsigned size, u64 value) {
  if (offset >= kVgaPorts && offset + size <= kVgaPortsEnd)
    return ports_.write(offset - kVgaPorts + kFirstVgaPort, size, value);
  if (offset < kDispiRegisters || offset >= kDispiRegistersEnd || size != 2 || offset % 2 != 0) return;
  const std::scoped_lock lock(mutex_);
  write_dispi(static_cast<unsigned>(offset - kDispiRegisters) / 2, static_cast<u16>(value));
}

void Adapter::write_dispi(unsigned reg, u16 value) {
  const u64 cleared = dispi_.write(reg, value, memory_.size());
  for (u64 at = 0; at + 8 <= cleared; at += 8) guest_store<u64>(&memory_[at], 0);
}

Screen Adapter::screen() const {
  const Registers now = registers();
  return draw({now.vga, now.dispi, memory_});
}

std::string Adapter::text() const {
  const Registers now = registers();
  return text_of({now.vga, now.dispi, memory_});
}

Adapter::Registers Adapter::registers() const {
  const std::scoped_lock lock(mutex_);
  return {vga_, dispi_};
}

SavedState Adapter::save() const {
  State state;
  state.pci = function_state();
  const std::scoped_lock lock(mutex_);
  state.vga = vga_;
  state.dispi = dispi_;
  return encode_state(state);
}

}  // namespace vellum::vga
