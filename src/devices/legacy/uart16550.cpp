#include "devices/legacy/uart16550.hpp"

#include <algorithm>

namespace vellum {
namespace {

namespace ier {
constexpr u8 kReceived = 1, kTransmitterEmpty = 2, kLineStatus = 4, kModemStatus = 8;
}
namespace lcr {
constexpr u8 kBreak = 0x40, kDivisorLatch = 0x80;
}
namespace mcr {
constexpr u8 kDtr = 1, kRts = 2, kOut1 = 4, kOut2 = 8, kAll = 0x1f;
}
namespace lsr {
constexpr u8 kDataReady = 1, kOverrun = 2, kFramingError = 8, kBreak = 0x10, kThrEmpty = 0x20,
             kTransmitterEmpty = 0x40, kFifoError = 0x80;
constexpr u8 kCharacterErrors = 0x1c;
}  // namespace lsr
namespace msr {
constexpr u8 kDeltaCts = 1, kDeltaDsr = 2, kTrailingRi = 4, kDeltaDcd = 8, kCts = 0x10, kDsr = 0x20,
             kRi = 0x40, kDcd = 0x80;
}
namespace fcr {
constexpr u8 kEnable = 1, kResetReceiver = 2, kTrigger = 0xc0;
}
// Interrupt ids in order of priority.
constexpr u8 kIdLineStatus = 6, kIdReceived = 4, kIdTimeout = 0xc, kIdThrEmpty = 2, kIdModemStatus = 0,
             kIdNone = 1;

constexpr u16 kBreakCharacter = u16{lsr::kBreak | lsr::kFramingError} << 8;

constexpr std::size_t trigger_level(u8 fcr) {
  constexpr std::size_t kLevels[] = {1, 4, 8, 14};
  return kLevels[fcr >> 6];
}

}  // namespace

Uart16550::Uart16550(std::string name, ByteSink& output, InterruptLine& irq, const State& state)
    : name_(std::move(name)), output_(output), irq_(irq), state_(state) {
  std::scoped_lock lock(mutex_);
  if (state_.fifo.size() > capacity()) state_.fifo.resize(capacity());
  update_irq();
}

// ---- The outside ----

std::size_t Uart16550::free_room() const {
  // In loopback the receiver is disconnected from its pin; what the host has to say waits.
  if (loopback() || state_.fifo.size() >= capacity()) return 0;
  return capacity() - state_.fifo.size();
}

std::size_t Uart16550::can_receive() const {
  std::scoped_lock lock(mutex_);
  return free_room();
}

std::size_t Uart16550::receive(std::span<const u8> bytes) {
  std::scoped_lock lock(mutex_);
  const std::size_t count = std::min(free_room(), bytes.size());
  for (const u8 byte : bytes.first(count)) push(byte);
  starved_ = count < bytes.size();
  if (count != 0) update_irq();
  return count;
}

bool Uart16550::receive_break() {
  std::scoped_lock lock(mutex_);
  if (free_room() == 0) {
    starved_ = true;
    return false;
  }
  push(kBreakCharacter);
  update_irq();
  return true;
}

bool Uart16550::push(u16 character) {
  if (state_.fifo.size() >= capacity()) {
    state_.lsr_errors |= lsr::kOverrun;
    // With FIFOs the character in the shift register is lost, without them the one in RBR is.
    if (!fifo_enabled()) state_.fifo.back() = character;
    return false;
  }
  state_.fifo.push_back(character);
  received_.add();
  return true;
}

// ---- Registers ----

u8 Uart16550::lsr() const {
  u8 value = lsr::kThrEmpty | lsr::kTransmitterEmpty | state_.lsr_errors;
  if (!state_.fifo.empty()) {
    value |= lsr::kDataReady | static_cast<u8>(state_.fifo.front() >> 8);
    if (fifo_enabled() && std::ranges::any_of(state_.fifo, [](u16 c) { return c >> 8 != 0; }))
      value |= lsr::kFifoError;
  }
  return value;
}

u8 Uart16550::modem_lines() const {
  if (!loopback()) return msr::kCts | msr::kDsr | msr::kDcd;
  u8 lines = 0;
  if ((state_.mcr & mcr::kRts) != 0) lines |= msr::kCts;
  if ((state_.mcr & mcr::kDtr) != 0) lines |= msr::kDsr;
  if ((state_.mcr & mcr::kOut1) != 0) lines |= msr::kRi;
  if ((state_.mcr & mcr::kOut2) != 0) lines |= msr::kDcd;
  return lines;
}

u8 Uart16550::interrupt_id() const {
  if ((state_.ier & ier::kLineStatus) != 0 && (lsr() & (lsr::kOverrun | lsr::kCharacterErrors)) != 0)
    return kIdLineStatus;
  if ((state_.ier & ier::kReceived) != 0 && !state_.fifo.empty())
    return !fifo_enabled() || state_.fifo.size() >= trigger_level(state_.fcr) ? kIdReceived : kIdTimeout;
  if ((state_.ier & ier::kTransmitterEmpty) != 0 && state_.thre_pending) return kIdThrEmpty;
  if ((state_.ier & ier::kModemStatus) != 0 && state_.msr_deltas != 0) return kIdModemStatus;
  return kIdNone;
}

void Uart16550::update_irq() {
  // OUT2 gates the interrupt onto the bus in a PC; in loopback the modem outputs are inactive, OUT2 among
  // them.
  irq_.set(interrupt_id() != kIdNone && (state_.mcr & mcr::kOut2) != 0 && !loopback());
}

u8 Uart16550::take_received(bool& room) {
  if (state_.fifo.empty()) return state_.last_received;
  state_.last_received = static_cast<u8>(state_.fifo.front());
  state_.fifo.erase(state_.fifo.begin());
  if (starved_ && state_.fifo.size() <= capacity() / 2) {  // one call for half a FIFO
    starved_ = false;
    room = true;
  }
  return state_.last_received;
}

u8 Uart16550::read_register(unsigned offset, bool& room) {
  const bool latch = (state_.lcr & lcr::kDivisorLatch) != 0;
  switch (offset) {
    case 0:
      return latch ? static_cast<u8>(state_.divisor) : take_received(room);
    case 1:
      return latch ? static_cast<u8>(state_.divisor >> 8) : state_.ier;
    case 2: {
      const u8 id = interrupt_id();
      if (id == kIdThrEmpty) state_.thre_pending = false;
      return static_cast<u8>(id | (fifo_enabled() ? 0xc0 : 0));
    }
    case 3:
      return state_.lcr;
    case 4:
      return state_.mcr;
    case 5: {
      const u8 value = lsr();
      state_.lsr_errors = 0;
      if (!state_.fifo.empty()) state_.fifo.front() &= 0xff;  // its errors are shown once
      return value;
    }
    case 6: {
      const u8 value = static_cast<u8>(modem_lines() | state_.msr_deltas);
      state_.msr_deltas = 0;
      return value;
    }
    default:
      return state_.scratch;
  }
}

void Uart16550::transmit(u8 value) {
  // THR full for no time at all: the request falls and rises, which an edge-triggered 8259 must see.
  state_.thre_pending = false;
  update_irq();
  sent_.add();
  if (loopback()) {
    push((state_.lcr & lcr::kBreak) != 0 ? kBreakCharacter : value);
  } else if ((state_.lcr & lcr::kBreak) == 0) {
    output_.write({&value, 1});
  }
  state_.thre_pending = true;
}

void Uart16550::write_fcr(u8 value) {
  // A change of the enable bit clears both FIFOs (§8.4); trigger bits count only with the enable bit.
  if (((value ^ state_.fcr) & fcr::kEnable) != 0 || (value & fcr::kResetReceiver) != 0) state_.fifo.clear();
  state_.fcr = (value & fcr::kEnable) != 0 ? value & (fcr::kEnable | fcr::kTrigger) : 0;
}

void Uart16550::write_mcr(u8 value) {
  const u8 before = modem_lines();
  state_.mcr = value & mcr::kAll;
  const u8 changed = before ^ modem_lines();
  if ((changed & msr::kCts) != 0) state_.msr_deltas |= msr::kDeltaCts;
  if ((changed & msr::kDsr) != 0) state_.msr_deltas |= msr::kDeltaDsr;
  if ((changed & before & msr::kRi) != 0) state_.msr_deltas |= msr::kTrailingRi;
  if ((changed & msr::kDcd) != 0) state_.msr_deltas |= msr::kDeltaDcd;
}

void Uart16550::write_register(unsigned offset, u8 value) {
  const bool latch = (state_.lcr & lcr::kDivisorLatch) != 0;
  switch (offset) {
    case 0:
      if (latch) {
        state_.divisor = static_cast<u16>((state_.divisor & 0xff00) | value);
      } else {
        transmit(value);
      }
      return;
    case 1:
      if (latch) {
        state_.divisor = static_cast<u16>((state_.divisor & 0xff) | value << 8);
      } else {
        // Enabling the transmitter interrupt while THR is empty raises it at once.
        if ((value & ~state_.ier & ier::kTransmitterEmpty) != 0) state_.thre_pending = true;
        state_.ier = value & 0xf;
      }
      return;
    case 2:
      return write_fcr(value);
    case 3:
      // A break that begins in loopback reaches the receiver.
      if (loopback() && (value & ~state_.lcr & lcr::kBreak) != 0) push(kBreakCharacter);
      state_.lcr = value;
      return;
    case 4:
      return write_mcr(value);
    case 7:
      state_.scratch = value;
      return;
    default:
      return;  // LSR and MSR: factory test only
  }
}

u8 Uart16550::read_byte(u64 offset) {
  bool room = false;
  u8 value = 0;
  {
    std::scoped_lock lock(mutex_);
    value = read_register(offset & 7, room);
    update_irq();
  }
  if (room && room_) room_();
  return value;
}

void Uart16550::write_byte(u64 offset, u8 value) {
  bool room = false;
  {
    std::scoped_lock lock(mutex_);
    write_register(offset & 7, value);
    update_irq();
    // Switching the FIFOs on or resetting them, or leaving loopback, makes room.
    if (starved_ && free_room() != 0) {
      starved_ = false;
      room = true;
    }
  }
  if (room && room_) room_();
}

SavedState Uart16550::save() const {
  std::scoped_lock lock(mutex_);
  return encode_state(state_);
}

void Uart16550::stats(std::vector<StatRow>& rows) const {
  if (sent_.get() != 0) rows.push_back({"device " + name_, "bytes sent", sent_.get(), 0});
  if (received_.get() != 0) rows.push_back({"device " + name_, "bytes received", received_.get(), 0});
}

}  // namespace vellum
