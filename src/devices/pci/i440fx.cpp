#include "devices/pci/i440fx.hpp"

namespace vellum::pci {
namespace {

constexpr Identity kIdentity{0x8086, 0x1237, 2, 0x060000, 0x1af4, 0x1100, 0, false};

constexpr u32 kEnable = u32{1} << 31, kAddressBits = kEnable | 0xfffffc;

}  // namespace

I440Fx::I440Fx(Bus& bus, const State& state) : Function(bus, "i440fx", kIdentity) {
  // The data sheet's defaults and writable bits (§3.2); the DRAM, cache and error registers keep what is
  // written and do nothing.
  config().define(kCommand, 2, kMemoryEnable | kMasterEnable, kSerrEnable | kParityResponse);
  config().define(0x50, 2, 0, 0xffff);  // PMC configuration
  config().define(0x52, 1, 0, 0xff);    // deturbo counter
  config().define(0x53, 1, 0x80, 0xff);
  config().define(0x54, 2, 0, 0xffff);  // auxiliary control
  config().define(0x57, 1, 0x01, 0xff);
  config().define(0x58, 1, 0x10, 0xff);
  config().define(kPam, kPamRegisters, 0, 0x33'33'33'33'33'33'30);
  config().define(0x60, 8, 0x0101010101010101, ~u64{0});  // DRAM row boundaries
  config().define(0x68, 1, 0, 0x80);
  config().define(0x70, 1, 0, 0xff);
  config().define(0x71, 1, 0, 0xff);
  config().define(0x72, 1, 0x02, 0x38);  // SMRAM: stored; there is no system-management mode
  config().define(0x90, 2, 0, 0xffff);
  config().define(0x93, 1, 0, 0xff);
  restore(state.pci);
}

std::array<I440Fx::Segment, I440Fx::kSegments> I440Fx::segments() const {
  std::array<Segment, kSegments> all;
  std::scoped_lock lock(config_mutex_);
  const auto bytes = config().bytes();
  const auto attributes = [](Segment& segment, unsigned nibble) {
    segment.read_ram = (nibble & 1) != 0;
    segment.write_ram = (nibble & 2) != 0;
  };
  // PAM1 to PAM6 have two segments of 16 KiB each, the lower one in the low nibble.
  for (unsigned n = 0; n < 12; ++n) {
    all[n].start = GuestPhys(0xc0000 + u64{n} * 0x4000);
    all[n].size = 0x4000;
    attributes(all[n], bytes[kPam + 1 + n / 2] >> (n % 2 * 4) & 0xfu);
  }
  all[12].start = GuestPhys(0xf0000);
  all[12].size = 0x10000;
  attributes(all[12], bytes[kPam] >> 4);
  return all;
}

void I440Fx::open_all_segments() {
  write_config(kPam, 1, 0x30);
  for (unsigned n = 1; n < kPamRegisters; ++n) write_config(kPam + n, 1, 0x33);
}

void I440Fx::after_config_write(unsigned offset, unsigned size) {
  if (offset < kPam + kPamRegisters && offset + size > kPam && listener_) listener_();
}

SavedState I440Fx::save() const {
  State state;
  state.pci = function_state();
  return encode_state(state);
}

ConfigPorts::ConfigPorts(Bus& bus, BusDevice& reset, const State& state)
    : bus_(bus), reset_(reset), address_(state.address & kAddressBits) {}

u64 ConfigPorts::read(u64 offset, unsigned size) {
  const u32 address = address_.load(std::memory_order_relaxed);
  if (offset < 4) {
    if (offset == 0 && size == 4) return address;
    if (offset == 1 && size == 1) return reset_.read(0, 1);
    return low_mask(8 * size);
  }
  const unsigned within = offset & 3;
  if ((address & kEnable) == 0 || within + size > 4) return low_mask(8 * size);
  return bus_.read_config(address >> 16 & 0xff, static_cast<u8>(address >> 8), (address & 0xfc) + within,
                          size);
}

void ConfigPorts::write(u64 offset, unsigned size, u64 value) {
  if (offset < 4) {
    if (offset == 0 && size == 4)
      address_.store(static_cast<u32>(value) & kAddressBits, std::memory_order_relaxed);
    if (offset == 1 && size == 1) reset_.write(0, 1, value);
    return;
  }
  const u32 address = address_.load(std::memory_order_relaxed);
  const unsigned within = offset & 3;
  if ((address & kEnable) == 0 || within + size > 4) return;
  bus_.write_config(address >> 16 & 0xff, static_cast<u8>(address >> 8), (address & 0xfc) + within, size,
                    static_cast<u32>(value));
}

SavedState ConfigPorts::save() const {
  State state;
  state.address = address_.load(std::memory_order_relaxed);
  return encode_state(state);
}

}  // namespace vellum::pci
