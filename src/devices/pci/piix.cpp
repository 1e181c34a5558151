#include "devices/pci/piix.hpp"

namespace vellum::pci {
namespace {

constexpr Identity kIsaBridge{0x8086, 0x7000, 0, 0x060100, 0x1af4, 0x1100, 0, true};
constexpr Identity kPowerManagement{0x8086, 0x7113, 3, 0x068000, 0x1af4, 0x1100, 1, false};

// 82371SB §2.2.10: the IRQs that a PIRQ can be routed to.
constexpr u16 kRoutable = 0b1101'1110'1111'1000;

constexpr unsigned kPmBase = 0x40, kPmRegMisc = 0x80;
constexpr u32 kPmIoSpaceEnable = 1;
// DEVACTB (82371AB §7.2.11): a write to port 0xb2 makes an SMI. Set at power-on: firmware that finds it so
// has set up system-management mode already, and does not wait for an SMI that never comes.
constexpr unsigned kDeviceActivityB = 0x58;
constexpr u32 kApmcEnable = u32{1} << 25;

}  // namespace

Piix3::Piix3(Bus& bus, GsiRouter& router, const State& state) : Function(bus, "piix3", kIsaBridge) {
  config().define(kCommand, 2, kIoEnable | kMemoryEnable | kMasterEnable, kSerrEnable);
  config().define(0x4c, 1, 0x4d, 0xff);      // ISA recovery timer
  config().define(0x4e, 2, 0x0003, 0xffff);  // X-bus chip select
  for (unsigned pirq = 0; pirq < 4; ++pirq) config().define(kPirqControl + pirq, 1, kPirqDisabled, 0x8f);
  config().define(0x69, 1, 0x02, 0xfe);  // top of memory
  config().define(0x6a, 2, 0x0004, 0x80f6);
  config().define(0x70, 2, 0x8080, 0xefef);  // motherboard device IRQ routing
  config().define(0x76, 2, 0x0c0c, 0x8f8f);
  config().define(0x78, 2, 0x0002, 0xffff);
  config().define(0x80, 1, 0, 0x7f);  // APIC base: the I/O APIC of this board does not move
  config().define(0x82, 1, 0, 0x0f);  // deterministic latency
  config().define(0xa0, 1, 0x08, 0x1f);
  restore(state.pci);

  for (unsigned irq = 0; irq < 16; ++irq)
    if ((kRoutable >> irq & 1) != 0) isa_lines_[irq] = &router.isa_line(irq);
  for (unsigned pirq = 0; pirq < 4; ++pirq) gsi_lines_[pirq] = &router.gsi_line(Bus::kFirstGsi + pirq);
}

void Piix3::set_pirq(unsigned pirq, bool asserted) {
  std::scoped_lock lock(route_mutex_);
  asserted_[pirq] = asserted;
  gsi_lines_[pirq]->set(asserted);
  route();
}

void Piix3::config_written(unsigned, unsigned) {
  std::scoped_lock lock(route_mutex_);
  for (unsigned pirq = 0; pirq < 4; ++pirq)
    control_[pirq] = static_cast<u8>(config().get(kPirqControl + pirq, 1));
  route();
}

void Piix3::route() {
  unsigned levels = 0;
  for (unsigned pirq = 0; pirq < 4; ++pirq)
    if ((control_[pirq] & kPirqDisabled) == 0 && asserted_[pirq]) levels |= 1u << (control_[pirq] & 15);
  for (unsigned irq = 0; irq < 16; ++irq)
    if (isa_lines_[irq] != nullptr) isa_lines_[irq]->set((levels >> irq & 1) != 0);
}

SavedState Piix3::save() const {
  State state;
  state.pci = function_state();
  return encode_state(state);
}

Piix4Pm::Piix4Pm(Bus& bus, BusDevice& registers, u64 register_count, const State& state)
    : Function(bus, "piix4-pm", kPowerManagement),
      ports_(bus.ports()),
      window_(bus.ports().add(registers, register_count, "acpi-pm")) {
  config().define(kStatus, 2, 0x0280, 0, kErrorBits);
  config().define(kPmBase, 4, 1, 0xffc0);
  // Counters, general-purpose enables, device activity: stored.
  for (unsigned at = 0x44; at < 0x7c; at += 4) config().define(at, 4, 0, 0xffffffff);
  config().define(kDeviceActivityB, 4, kApmcEnable, 0xffffffff);
  config().define(kPmRegMisc, 1, 0, 0x01);
  config().define(0x90, 4, 1);  // no SMBus controller behind it
  restore(state.pci);
}

void Piix4Pm::set_base(u16 port) {
  write_config(kPmBase, 4, port);
  write_config(kPmRegMisc, 1, kPmIoSpaceEnable);
}

std::optional<u16> Piix4Pm::decoded() const {
  const auto base = static_cast<u16>(config().get(kPmBase, 2) & 0xffc0);
  if ((config().get(kPmRegMisc, 1) & kPmIoSpaceEnable) == 0 || base == 0) return std::nullopt;
  return base;
}

std::optional<u16> Piix4Pm::base() const {
  std::scoped_lock lock(config_mutex_);
  return decoded();
}

void Piix4Pm::config_written(unsigned, unsigned) {
  const auto base = decoded();
  ports_.move(window_, base ? std::optional<u64>(*base) : std::nullopt);
}

SavedState Piix4Pm::save() const {
  State state;
  state.pci = function_state();
  return encode_state(state);
}

}  // namespace vellum::pci
