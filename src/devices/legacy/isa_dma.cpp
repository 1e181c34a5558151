#include "devices/legacy/isa_dma.hpp"

#include <algorithm>

#include "base/address.hpp"

namespace vellum {
namespace {

constexpr unsigned kCascadeChannel = 0;                            // of the second chip
constexpr std::array<u8, Dma8237::kChannels> kPageOf{7, 3, 1, 2};  // of the first chip's channels

}  // namespace

IsaDma::IsaDma(DmaView memory, const State& state) : memory_(memory), s_(state) {
  for (Dma8237& chip : s_.chips) {
    chip.mask &= 0x0f, chip.reached &= 0x0f, chip.software_requests &= 0x0f;
    for (Dma8237::Channel& channel : chip.channels) channel.mode &= 0xfc;
  }
}

void IsaDma::open_cascade() {
  const std::scoped_lock lock(mutex_);
  s_.chips[1].channels[kCascadeChannel].mode = Dma8237::kCascade;
  s_.chips[1].mask &= static_cast<u8>(~(1 << kCascadeChannel));
}

// ---- Registers ----

u8 IsaDma::read(unsigned chip, u64 reg) {
  const std::scoped_lock lock(mutex_);
  return s_.chips[chip].read(reg % Dma8237::kRegisters, chip == 0 ? requests_ : u8{0});
}

void IsaDma::write(unsigned chip, u64 reg, u8 value) {
  std::array<DmaClient*, Dma8237::kChannels> opened{};
  {
    const std::scoped_lock lock(mutex_);
    s_.chips[chip].write(reg % Dma8237::kRegisters, value);
    for (unsigned n = 0; n < Dma8237::kChannels; ++n)
      if ((requests_ >> n & 1) != 0 && is_open(n)) opened[n] = clients_[n];
  }
  for (DmaClient* const client : opened)
    if (client != nullptr) client->dma_opened();
}

u8 IsaDma::Pages::read_byte(u64 offset) {
  const std::scoped_lock lock(dma_.mutex_);
  return dma_.s_.pages[(offset + 1) % 16];
}

void IsaDma::Pages::write_byte(u64 offset, u8 value) {
  const std::scoped_lock lock(dma_.mutex_);
  dma_.s_.pages[(offset + 1) % 16] = value;
}

// ---- Devices ----

void IsaDma::connect(unsigned channel, DmaClient* client) {
  const std::scoped_lock lock(mutex_);
  clients_[channel] = client;
  if (client == nullptr) requests_ &= static_cast<u8>(~(1 << channel));
}

void IsaDma::request(unsigned channel, bool wanted) {
  const std::scoped_lock lock(mutex_);
  const u8 bit = static_cast<u8>(1 << channel);
  requests_ = static_cast<u8>(wanted ? requests_ | bit : requests_ & ~bit);
}

bool IsaDma::open(unsigned channel) const {
  const std::scoped_lock lock(mutex_);
  return is_open(channel);
}

bool IsaDma::is_open(unsigned channel) const {
  const Dma8237 &first = s_.chips[0], &second = s_.chips[1];
  if (!second.enabled() || second.masked(kCascadeChannel) || !second.cascades(kCascadeChannel)) return false;
  return first.enabled() && !first.masked(channel) && !first.cascades(channel);
}

template <class Piece>
IsaDma::Moved IsaDma::move(unsigned n, u64 bytes, Piece&& piece) {
  Dma8237& chip = s_.chips[0];
  const Dma8237::Channel& channel = chip.channels[n];
  const bool down = (channel.mode & Dma8237::kDown) != 0;
  Moved moved;
  while (moved.bytes < bytes && !moved.last) {
    // GUEST-CONTROLLED: where it is; 24 bits.
    const u32 address = u32{s_.pages[kPageOf[n]]} << 16 | channel.address;
    const u64 in_page = down ? 1 : kPageSize - address % kPageSize;
    const u64 size = std::min({bytes - moved.bytes, in_page, u64{channel.count} + 1});
    piece(GuestPhys(address), moved.bytes, size);
    moved.last = chip.moved(n, static_cast<u32>(size));
    moved.bytes += size;
  }
  return moved;
}

IsaDma::Moved IsaDma::to_memory(unsigned channel, std::span<const u8> bytes) {
  const std::scoped_lock lock(mutex_);
  const bool stores = (s_.chips[0].channels[channel].mode & Dma8237::kKind) == Dma8237::kToMemory;
  return move(channel, bytes.size(), [&](GuestPhys at, u64 position, u64 size) {
    if (stores) memory_.write(at, bytes.subspan(position, size));
  });
}

IsaDma::Moved IsaDma::from_memory(unsigned channel, std::span<u8> bytes) {
  const std::scoped_lock lock(mutex_);
  const bool loads = (s_.chips[0].channels[channel].mode & Dma8237::kKind) == Dma8237::kFromMemory;
  return move(channel, bytes.size(), [&](GuestPhys at, u64 position, u64 size) {
    const auto part = bytes.subspan(position, size);
    if (!loads || !memory_.read(at, part)) std::ranges::fill(part, u8{0xff});
  });
}

SavedState IsaDma::save() const {
  const std::scoped_lock lock(mutex_);
  return encode_state(s_);
}

}  // namespace vellum
