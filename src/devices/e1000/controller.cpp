#include "devices/e1000/controller.hpp"

#include "base/bits.hpp"

namespace vellum::e1000 {
namespace {

constexpr pci::Identity kIdentity{0x8086, 0x100e, 2, 0x020000, 0x8086, 0x001e, 1, false};
constexpr unsigned kMemoryBar = 0, kPortsBar = 1;
constexpr u64 kPortsSize = 64, kPortsAddress = 0, kPortsData = 4;

}  // namespace

Controller::Controller(pci::Bus& bus, Clock& clock, const IoContext& context,
                       std::shared_ptr<net::Network> network, const net::MacAddress& mac, const State& state)
    : Function(bus, "e1000", kIdentity),
      context_(context),
      network_(std::move(network)),
      eeprom_(mac),
      phy_(network_->link_up()),
      interrupts_(
          clock, [this](bool asserted) { set_interrupt(asserted); },
          [this] {
            std::scoped_lock lock(mutex_);
            interrupts_.update();
          }),
      bells_(context, [this](unsigned bell) { bell == kTransmitBell ? transmit() : listen(); }) {
  add_bar(kMemoryBar, {pci::BarKind::kMemory32, kMemorySize}, memory_);
  add_bar(kPortsBar, {pci::BarKind::kIo, kPortsSize}, ports_);
  restore(state.pci);
  if (state.registers.empty()) {
    load_address();
    if (link()) interrupts_.raise(kLinkChange);
    return;
  }
  registers_.restore(state.registers);
  eeprom_.restore(state.eeprom);
  phy_.restore(state.phy);
  transmitter_.restore(state.transmitter);
  io_address_ = state.io_address;
  interrupts_.restore(state.interrupts, registers_.get(kItr), state.pci.interrupt);
}

Controller::~Controller() {
  network_->connect(nullptr);
}

void Controller::resume() {
  paused_ = false;
  transmit();
  listen();
}

void Controller::after_config_write(unsigned offset, unsigned size) {
  // It may have become bus master.
  if (offset > pci::kCommand + 1 || offset + size <= pci::kCommand) return;
  bells_.ring(kTransmitBell);
  bells_.ring(kReceiveBell);
}

// The two ways to the registers. Those have 32 bits; of others only reads do something sensible.

u64 Controller::Memory::read(u64 offset, unsigned size) {
  if (size == 8) {
    const u64 low = card_.read_register(static_cast<u32>(offset));
    return low | u64{card_.read_register(static_cast<u32>(offset + 4))} << 32;
  }
  const u32 value = card_.read_register(static_cast<u32>(offset & ~u64{3}));
  return value >> (8 * (offset & 3)) & low_mask(8 * size);
}

void Controller::Memory::write(u64 offset, unsigned size, u64 value) {
  if (size < 4 || (offset & 3) != 0) return;
  card_.write_register(static_cast<u32>(offset), static_cast<u32>(value));
  if (size == 8) card_.write_register(static_cast<u32>(offset + 4), static_cast<u32>(value >> 32));
}

u64 Controller::Ports::read(u64 offset, unsigned size) {
  if (size != 4) return low_mask(8 * size);
  u32 address = 0;
  {
    std::scoped_lock lock(card_.mutex_);
    address = card_.io_address_;
  }
  if (offset == kPortsAddress) return address;
  return offset == kPortsData ? card_.read_register(address & ~u32{3}) : 0;
}

void Controller::Ports::write(u64 offset, unsigned size, u64 value) {
  if (size != 4) return;
  u32 address = 0;
  {
    std::scoped_lock lock(card_.mutex_);
    if (offset == kPortsAddress) card_.io_address_ = static_cast<u32>(value) & (kMemorySize - 1);
    address = card_.io_address_;
  }
  if (offset == kPortsData) card_.write_register(address & ~u32{3}, static_cast<u32>(value));
}

u32 Controller::status() const {
  const u32 fixed = kFullDuplex | kStatusSpeed1000 | kStatusDetected1000;
  return link() ? fixed | kStatusLinkUp : fixed;
}

u32 Controller::read_register(u32 offset) {
  std::scoped_lock lock(mutex_);
  switch (offset) {
    case kCtrlCopy:
      return registers_.get(kCtrl);
    case kStatus:
      return status();
    case kEecd:
      return eeprom_.read_pins();
    case kIcr:
      return interrupts_.take();
    case kIms:
      return interrupts_.mask();
    default:
      return registers_.read(offset);
  }
}

void Controller::write_register(u32 offset, u32 value) {
  u64 bells = 0;
  {
    std::scoped_lock lock(mutex_);
    bells = store(offset, value);
  }
  for (const Bell bell : {kTransmitBell, kReceiveBell})
    if ((bells & bit(bell)) != 0) bells_.ring(bell);
}

u64 Controller::store(u32 offset, u32 value) {
  switch (offset) {
    case kCtrl:
    case kCtrlCopy:
      return write_control(value);
    case kMdic:
      return write_mdic(value);
    case kEecd:
      eeprom_.write_pins(value);
      return 0;
    case kEerd:
      write_eerd(value);
      return 0;
    case kIcr:  // writing a 1 clears a cause, too
      interrupts_.clear(value);
      return 0;
    case kIcs:
      interrupts_.raise(value);
      return 0;
    case kIms:
      interrupts_.enable(value);
      return 0;
    case kImc:
      interrupts_.disable(value);
      return 0;
    default:
      break;
  }
  registers_.write(offset, value);
  switch (offset) {
    case kItr:
      interrupts_.set_interval(registers_.get(kItr));
      return 0;
    case kTdt:
    case kTctl:
      return registers_.has(kTctl, kTxEnable) ? bit(kTransmitBell) : 0;
    case kRdt:
      return awaited_ ? bit(kReceiveBell) : 0;
    case kRctl:
      return bit(kReceiveBell);
    default:
      return 0;
  }
}

u64 Controller::write_control(u32 value) {
  if ((value & kReset) != 0) return reset();
  const bool had_link = link();
  registers_.write(kCtrl, value);
  if ((value & kPhyReset) != 0) phy_.reset();
  if (link() == had_link && ((value & kPhyReset) == 0 || !link())) return 0;
  interrupts_.raise(kLinkChange);
  return bit(kReceiveBell);
}

// §13.4.1: everything but the PCI configuration, the EEPROM's contents and the PHY.
u64 Controller::reset() {
  registers_.reset();
  interrupts_.reset();
  transmitter_.reset();
  eeprom_.release();
  io_address_ = 0;
  load_address();
  if (link()) interrupts_.raise(kLinkChange);
  return bit(kReceiveBell);
}

void Controller::load_address() {
  const net::MacAddress mac = eeprom_.mac();
  u64 address = 0;
  for (unsigned i = 0; i < mac.size(); ++i) address |= u64{mac[i]} << (8 * i);
  registers_.put(kRal, static_cast<u32>(address));
  registers_.put(kRal + 4, static_cast<u32>(address >> 32) | kAddressValid);
}

// §13.4.8. The PHY answers at once.
u64 Controller::write_mdic(u32 value) {
  const u32 number = value >> 16 & 31, address = value >> 21 & 31,
            operation = value & (kMdicRead | kMdicWrite);
  u32 result = (value & ~(kMdicError | kMdicReady)) | kMdicReady;
  bool negotiated = false;
  if (address != Phy::kAddress || (operation != kMdicRead && operation != kMdicWrite)) {
    result |= kMdicError;
  } else if (operation == kMdicRead) {
    result = (result & ~u32{0xffff}) | phy_.read(number);
  } else {
    negotiated = phy_.write(number, static_cast<u16>(value));
  }
  registers_.put(kMdic, result);
  const u32 causes = (negotiated ? kLinkChange : 0) | ((value & kMdicInterrupt) != 0 ? kMdioDone : 0);
  if (causes != 0) interrupts_.raise(causes);
  return negotiated ? bit(kReceiveBell) : 0;
}

void Controller::write_eerd(u32 value) {
  if ((value & kEerdStart) == 0) return;
  const u32 address = value >> 8 & 0xff;
  const u32 word = address < Eeprom::kWords ? eeprom_.word(address) : 0xffff;
  registers_.put(kEerd, word << 16 | address << 8 | kEerdDone);
}

SavedState Controller::save() const {
  State state;
  std::scoped_lock lock(mutex_);
  state.pci = function_state();
  state.registers = registers_.values();
  state.eeprom = eeprom_.state();
  state.phy = phy_.state();
  state.interrupts = interrupts_.state();
  state.transmitter = transmitter_.state();
  state.io_address = io_address_;
  return encode_state(state);
}

void Controller::stats(std::vector<StatRow>& rows) const {
  const auto row = [&](const char* what, const Counter& counter) {
    if (counter.get() != 0) rows.push_back({"e1000", what, counter.get(), 0});
  };
  row("frames sent", sent_);
  row("frames received", received_);
  row("frames that the filters refused", filtered_);
  row("frames that were too long", too_long_);
  row("frames without a receive descriptor", no_descriptors_);
  row("packets that could not be sent", malformed_);
  row("packets with a wrong check sequence", bad_fcs_);
}

}  // namespace vellum::e1000
