#include "devices/ide/piix3_ide.hpp"

namespace vellum::ide {
namespace {

constexpr pci::Identity kIdentity{0x8086, 0x7010, 0, 0x010180, 0x1af4, 0x1100, 0, false};
constexpr unsigned kTiming = 0x40;  // IDETIM, 16 bits for each channel
constexpr u32 kDecode = 0x8000;     // bit 15: the channel's ports are answered
constexpr unsigned kMasterBar = 4;
constexpr u64 kMasterPorts = 8;  // for each channel

}  // namespace

Piix3Ide::Piix3Ide(pci::Bus& bus, GsiRouter& router, const IoContext& context, Drives drives,
                   const State& state)
    : Function(bus, "piix3-ide", kIdentity) {
  for (unsigned n = 0; n < kChannels; ++n) {
    // A PIIX3 begins with 0, and firmware switches both channels on. QEMU's answers all the same, and so
    // OVMF, which is made for it, does not: it would wait for minutes for ports that read as busy.
    config().define(kTiming + 2 * n, 2, kDecode, 0xffff);
    command_[n].ide = control_[n].ide = this;
    command_[n].channel = control_[n].channel = n;
    channels_[n] = std::make_unique<Channel>(context, std::move(drives[n]), router.isa_line(kIrqs[n]), dma(),
                                             n == 0 ? "ide0" : "ide1", state.channels[n]);
  }
  config().define(0x44, 1, 0, 0xff);  // timing of second drives
  add_bar(kMasterBar, {pci::BarKind::kIo, kMasterPorts * kChannels}, master_);
  restore(state.pci);
  config_written(0, 0);
}

void Piix3Ide::config_written(unsigned, unsigned) {
  const bool io = (config().get(pci::kCommand, 2) & pci::kIoEnable) != 0;
  for (unsigned n = 0; n < kChannels; ++n)
    decoded_[n].store(io && (config().get(kTiming + 2 * n, 2) & kDecode) != 0, std::memory_order_relaxed);
}

u64 Piix3Ide::CommandBlock::read(u64 offset, unsigned size) {
  if (!ide->decodes(channel)) return low_mask(8 * size);
  Channel& c = *ide->channels_[channel];
  if (offset == kData) {
    const u64 low = c.read_data(std::min(size, 4u));
    return size == 8 ? low | u64{c.read_data(4)} << 32 : low & low_mask(8 * size);
  }
  u64 value = 0;
  for (unsigned n = 0; n < size; ++n)
    value |= u64{offset + n < kCommandCount ? c.read(static_cast<Register>(offset + n)) : u8{0xff}}
             << (8 * n);
  return value;
}

void Piix3Ide::CommandBlock::write(u64 offset, unsigned size, u64 value) {
  if (!ide->decodes(channel)) return;
  Channel& c = *ide->channels_[channel];
  if (offset == kData) {
    c.write_data(std::min(size, 4u), static_cast<u32>(value));
    if (size == 8) c.write_data(4, static_cast<u32>(value >> 32));
    return;
  }
  for (unsigned n = 0; n < size && offset + n < kCommandCount; ++n)
    c.write(static_cast<u8>(offset + n), static_cast<u8>(value >> (8 * n)));
}

u8 Piix3Ide::ControlBlock::read_byte(u64) {
  return ide->decodes(channel) ? ide->channels_[channel]->alternate_status() : 0xff;
}

void Piix3Ide::ControlBlock::write_byte(u64, u8 value) {
  if (ide->decodes(channel)) ide->channels_[channel]->write_control(value);
}

u8 Piix3Ide::MasterBlock::read_byte(u64 offset) {
  return ide_.channels_[offset / kMasterPorts % kChannels]->read_master(offset % kMasterPorts);
}

void Piix3Ide::MasterBlock::write_byte(u64 offset, u8 value) {
  ide_.channels_[offset / kMasterPorts % kChannels]->write_master(offset % kMasterPorts, value);
}

void Piix3Ide::quiesce() {
  for (auto& channel : channels_) channel->quiesce();
}

void Piix3Ide::resume() {
  for (auto& channel : channels_) channel->resume();
}

void Piix3Ide::stats(std::vector<StatRow>& rows) const {
  for (const auto& channel : channels_) channel->stats(rows);
}

SavedState Piix3Ide::save() const {
  State state;
  state.pci = function_state();
  for (unsigned n = 0; n < kChannels; ++n) state.channels[n] = channels_[n]->state();
  return encode_state(state);
}

}  // namespace vellum::ide
