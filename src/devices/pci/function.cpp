#include "devices/pci/function.hpp"

#include <bit>

#include "base/assert.hpp"
#include "devices/pci/bus.hpp"

namespace vellum::pci {
namespace {

constexpr u32 kMsixEnable = 1 << 15, kMsixFunctionMask = 1 << 14;

bool is_64bit(BarKind kind) {
  return kind == BarKind::kMemory64 || kind == BarKind::kMemory64Prefetchable;
}

// The read-only low bits of a BAR (§6.2.5.1).
u32 type_bits(BarKind kind) {
  switch (kind) {
    case BarKind::kIo:
      return 1;
    case BarKind::kMemory32:
      return 0;
    case BarKind::kMemory32Prefetchable:
      return 8;
    case BarKind::kMemory64:
      return 4;
    default:
      return 4 | 8;
  }
}

}  // namespace

Function::Function(Bus& bus, std::string name, const Identity& identity) : bus_(bus), name_(std::move(name)) {
  config_.define(kVendorId, 2, identity.vendor);
  config_.define(kDeviceId, 2, identity.device);
  config_.define(
      kCommand, 2, 0,
      kIoEnable | kMemoryEnable | kMasterEnable | kParityResponse | kSerrEnable | kInterruptDisable);
  config_.define(kStatus, 2, kDevselMedium, 0, kErrorBits);
  config_.define(kRevision, 1, identity.revision);
  config_.define(kClassCode, 3, identity.class_code);
  config_.define(0x0c, 2, 0, 0xffff);  // cache line size, latency timer
  config_.define(kHeaderType, 1, identity.multifunction ? 0x80 : 0);
  config_.define(kSubsystemVendorId, 2, identity.subsystem_vendor);
  config_.define(kSubsystemId, 2, identity.subsystem);
  config_.define(kInterruptLine, 1, 0, identity.interrupt_pin != 0 ? 0xff : 0);
  config_.define(kInterruptPin, 1, identity.interrupt_pin);
}

bool Function::multifunction() const {
  std::scoped_lock lock(config_mutex_);
  return (config_.get(kHeaderType, 1) & 0x80) != 0;
}

void Function::add_bar(unsigned index, const Bar& bar, BusDevice& device) {
  const bool wide = is_64bit(bar.kind);
  VELLUM_ASSERT(index + (wide ? 1 : 0) < kBars && !bars_[index], "BAR {} of {}", index, name_);
  VELLUM_ASSERT(std::has_single_bit(bar.size) && bar.size >= (bar.kind == BarKind::kIo ? 4 : 16),
                "BAR {} of {} has {:#x} bytes", index, name_, bar.size);
  const u64 mask = ~(bar.size - 1);
  config_.define(kBar0 + 4 * index, wide ? 8 : 4, type_bits(bar.kind), mask);
  Decoder& decoder = bar.kind == BarKind::kIo ? bus_.ports() : bus_.memory();
  bars_[index] = MappedBar{bar, decoder.add(device, bar.size, name_ + " bar" + std::to_string(index))};
}

void Function::add_doorbell(unsigned bar, u64 offset, unsigned size, std::function<void()> ring) {
  VELLUM_ASSERT(bars_[bar] && bars_[bar]->bar.kind != BarKind::kIo, "a doorbell in BAR {} of {}", bar, name_);
  bus_.memory().add_doorbell(bars_[bar]->window, offset, size, std::move(ring));
}

void Function::add_rom(u64 size, BusDevice& device) {
  VELLUM_ASSERT(std::has_single_bit(size) && size >= 2048 && !rom_window_, "ROM of {}: {:#x} bytes", name_,
                size);
  config_.define(kRomBar, 4, 0, (~(size - 1) & 0xffff'f800) | kRomEnable);
  rom_window_ = bus_.memory().add(device, size, name_ + " rom");
}

unsigned Function::add_capability(u8 id, std::span<const u8> body) {
  const unsigned at = next_free_;
  VELLUM_ASSERT(at + 2 + body.size() <= kConfigSize, "capability {:#x} of {}", id, name_);
  config_.define(at, 1, id);
  config_.define(at + 1, 1, 0);
  for (std::size_t i = 0; i < body.size(); ++i) config_.define(at + 2 + static_cast<unsigned>(i), 1, body[i]);
  if (last_capability_ == 0) {
    config_.define(kCapabilities, 1, at);
    config_.put(kStatus, 2, config_.get(kStatus, 2) | kCapabilityList);
  } else {
    config_.put(last_capability_ + 1, 1, at);
  }
  last_capability_ = at;
  next_free_ = static_cast<unsigned>(align_up(at + 2 + body.size(), 4));
  return at;
}

void Function::add_msix(unsigned bar, unsigned vectors, const MsixState& state) {
  msix_ = std::make_unique<Msix>(bus_.msi(), vectors, state, bus_.msi_ports());
  add_bar(bar, {BarKind::kMemory32, msix_->bar_size()}, *msix_);
  std::array<u8, 10> body{};
  msix_capability_ = add_capability(kCapMsix, body);
  config_.define(msix_capability_ + 2, 2, vectors - 1, kMsixEnable | kMsixFunctionMask);
  config_.define(msix_capability_ + 4, 4, bar);
  config_.define(msix_capability_ + 8, 4, msix_->pba_offset() | bar);
}

void Function::restore(const FunctionState& state) {
  if (state.config.size() != kConfigSize) return;
  config_.restore(std::span<const u8, kConfigSize>(state.config.data(), kConfigSize));
  interrupt_wanted_ = state.interrupt && config_.get(kInterruptPin, 1) != 0;
}

FunctionState Function::function_state() const {
  std::scoped_lock lock(config_mutex_);
  FunctionState state;
  state.config.assign(config_.bytes().begin(), config_.bytes().end());
  state.interrupt = interrupt_wanted_;
  if (msix_) state.msix = msix_->state();
  return state;
}

std::vector<Function::BarInfo> Function::bars() const {
  std::vector<BarInfo> all;
  for (unsigned index = 0; index < kBars; ++index)
    if (bars_[index]) all.push_back({bars_[index]->bar, index});
  return all;
}

DmaView Function::dma() const {
  return DmaView(bus_.ram(), &bus_master_);
}

void Function::set_interrupt(bool asserted) {
  std::scoped_lock lock(config_mutex_);
  interrupt_wanted_ = asserted && config_.get(kInterruptPin, 1) != 0;
  update_interrupt();
}

u32 Function::read_config(unsigned offset, unsigned size) {
  std::scoped_lock lock(config_mutex_);
  config_read(offset, size);
  return config_.get(offset, size);
}

void Function::write_config(unsigned offset, unsigned size, u32 value) {
  {
    std::scoped_lock lock(config_mutex_);
    config_.write(offset, size, value);
    config_written(offset, size);
    update_bars();
    update_interrupt();
    update_msix();
  }
  after_config_write(offset, size);
}

void Function::config_written(unsigned, unsigned) {}

void Function::update_bars() {
  const u32 command = config_.get(kCommand, 2);
  bus_master_.store((command & kMasterEnable) != 0, std::memory_order_relaxed);
  if (!attached_) return;
  for (unsigned index = 0; index < kBars; ++index) {
    if (!bars_[index]) continue;
    const auto& [bar, window] = *bars_[index];
    (bar.kind == BarKind::kIo ? bus_.ports() : bus_.memory()).move(window, decoded(index));
  }
  if (rom_window_) {
    const u32 rom = config_.get(kRomBar, 4);
    const u64 address = rom & 0xffff'f800;
    const bool answers = (command & kMemoryEnable) != 0 && (rom & kRomEnable) != 0 && address != 0;
    bus_.memory().move(*rom_window_, answers ? std::optional(address) : std::nullopt);
  }
}

std::optional<u64> Function::decoded(unsigned index) const {
  const BarKind kind = bars_[index]->bar.kind;
  const unsigned at = kBar0 + 4 * index;
  const bool io = kind == BarKind::kIo;
  u64 address = config_.get(at, 4) & ~(io ? u64{3} : u64{15});
  if (is_64bit(kind)) address |= u64{config_.get(at + 4, 4)} << 32;
  // 0 is where a BAR stands that nobody has set yet.
  if ((config_.get(kCommand, 2) & (io ? kIoEnable : kMemoryEnable)) == 0 || address == 0) return std::nullopt;
  return address;
}

std::optional<u64> Function::bar_address(unsigned index) const {
  std::scoped_lock lock(config_mutex_);
  return decoded(index);
}

void Function::update_interrupt() {
  const u32 status = config_.get(kStatus, 2);
  config_.put(kStatus, 2, interrupt_wanted_ ? status | kInterruptStatus : status & ~u32{kInterruptStatus});
  if (!attached_) return;
  const bool asserted = interrupt_wanted_ && (config_.get(kCommand, 2) & kInterruptDisable) == 0;
  if (asserted == interrupt_asserted_) return;
  interrupt_asserted_ = asserted;
  bus_.set_interrupt(devfn_, config_.get(kInterruptPin, 1), asserted);
}

void Function::update_msix() {
  if (!msix_ || !attached_) return;
  const u32 control = config_.get(msix_capability_ + 2, 2);
  msix_->set_control((control & kMsixEnable) != 0, (control & kMsixFunctionMask) != 0,
                     bus_master_.load(std::memory_order_relaxed));
}

}  // namespace vellum::pci
