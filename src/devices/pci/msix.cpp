#include "devices/pci/msix.hpp"

#include <bit>

#include "base/assert.hpp"

namespace vellum::pci {

Msix::Msix(MsiSink& sink, unsigned vectors, const MsixState& state, MsiPorts* ports)
    : sink_(sink), vectors_(vectors), state_(state) {
  VELLUM_ASSERT(vectors >= 1 && vectors <= 2048, "{} vectors", vectors);
  for (unsigned vector = 0; ports != nullptr && vector < vectors; ++vector)
    ports_.push_back(ports->add_port());
  if (state_.table.size() != vectors || state_.pending.size() != (vectors + 63) / 64) {
    state_.table.assign(vectors, {});
    state_.pending.assign((vectors + 63) / 64, 0);
  }
  if (vectors % 64 != 0) state_.pending.back() &= low_mask(vectors % 64);
}

u64 Msix::bar_size() const {
  // Half for the table, half for the pending bits, as QEMU's devices have it.
  return std::max<u64>(4096, std::bit_ceil(u64{vectors_} * 16) * 2);
}

void Msix::set_control(bool enabled, bool function_masked, bool bus_master) {
  std::scoped_lock lock(mutex_);
  enabled_ = enabled;
  function_masked_ = function_masked;
  bus_master_ = bus_master;
  send_pending();
}

bool Msix::enabled() const {
  std::scoped_lock lock(mutex_);
  return enabled_;
}

void Msix::raise(unsigned vector) {
  std::scoped_lock lock(mutex_);
  if (vector >= vectors_ || !enabled_) return;
  state_.pending[vector / 64] |= bit(vector % 64);
  send_pending();
}

void Msix::send_pending() {
  // A message is a memory write by the function: without being bus master it has to wait.
  if (!enabled_ || !bus_master_ || function_masked_) return;
  for (std::size_t word = 0; word < state_.pending.size(); ++word) {
    for (u64 left = state_.pending[word]; left != 0; left &= left - 1) {
      const auto vector = static_cast<unsigned>(word * 64 + static_cast<unsigned>(std::countr_zero(left)));
      const auto& entry = state_.table[vector];
      if (masked(vector)) continue;
      state_.pending[word] &= ~bit(vector % 64);
      sink_of(vector).deliver({entry.address, entry.data});
    }
  }
}

u32 Msix::read_word(u64 offset) const {
  if (offset < u64{vectors_} * 16) {
    const auto& entry = state_.table[offset / 16];
    switch (offset % 16) {
      case 0:
        return static_cast<u32>(entry.address);
      case 4:
        return static_cast<u32>(entry.address >> 32);
      case 8:
        return entry.data;
      default:
        return entry.control;
    }
  }
  const u64 from_pba = offset - pba_offset();
  if (offset < pba_offset() || from_pba / 8 >= state_.pending.size()) return 0;
  return static_cast<u32>(state_.pending[from_pba / 8] >> (from_pba % 8 != 0 ? 32 : 0));
}

void Msix::write_word(u64 offset, u32 value) {
  if (offset >= u64{vectors_} * 16) return;  // pending bits are read-only
  auto& entry = state_.table[offset / 16];
  switch (offset % 16) {
    case 0:
      entry.address = (entry.address & ~u64{0xffff'ffff}) | (value & ~u32{3});
      break;
    case 4:
      entry.address = (entry.address & 0xffff'ffff) | u64{value} << 32;
      break;
    case 8:
      entry.data = value;
      break;
    default:
      entry.control = value & 1;
      send_pending();
  }
}

u64 Msix::read(u64 offset, unsigned size) {
  std::scoped_lock lock(mutex_);
  const u64 word = offset & ~u64{3};
  u64 value = read_word(word) >> (8 * (offset & 3));
  if (size == 8 && (offset & 7) == 0) value |= u64{read_word(word + 4)} << 32;
  return value & low_mask(8 * size);
}

void Msix::write(u64 offset, unsigned size, u64 value) {
  // §6.8.2: software uses aligned 32-bit or 64-bit accesses.
  if (size < 4 || (offset & (size - 1)) != 0) return;
  std::scoped_lock lock(mutex_);
  write_word(offset, static_cast<u32>(value));
  if (size == 8) write_word(offset + 4, static_cast<u32>(value >> 32));
}

MsixState Msix::state() const {
  std::scoped_lock lock(mutex_);
  return state_;
}

}  // namespace vellum::pci
