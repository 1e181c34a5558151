#include "irq/pic.hpp"

#include <bit>

namespace vellum {
namespace {

/// Inputs that the ELCR can't make level-triggered: IRQ 0, 1, 2 and 8, 13 (PIIX data sheet §4.1.6).
constexpr std::array<u8, 2> kElcrWritable = {0xf8, 0xde};

}  // namespace

// ---- One chip ----

void Pic8259::set_line(unsigned input, bool level) {
  const u8 mask = static_cast<u8>(1u << input);
  const bool was = (lines & mask) != 0;
  lines = static_cast<u8>(level ? lines | mask : lines & ~mask);
  if (level_triggered(input)) {
    irr = static_cast<u8>(level ? irr | mask : irr & ~mask);
  } else if (level && !was) {
    irr |= mask;  // stays latched if the line falls before INTA, where the chip would answer with IR7
  }
}

int Pic8259::highest_in_service() const {
  // In special mask mode a masked input in service no longer holds others back.
  const u8 blocking = special_mask ? static_cast<u8>(isr & ~imr) : isr;
  for (unsigned i = 1; i <= 8; ++i) {
    const unsigned input = (lowest + i) & 7;
    if ((blocking >> input & 1) != 0) return static_cast<int>(input);
  }
  return -1;
}

int Pic8259::pending() const {
  if (init_step != 0) return -1;
  const u8 requests = irr & static_cast<u8>(~imr);
  if (requests == 0) return -1;
  const int serving = highest_in_service();
  for (unsigned i = 1; i <= 8; ++i) {
    const unsigned input = (lowest + i) & 7;
    if (static_cast<int>(input) == serving) {
      // Special fully nested mode: the slave may interrupt again while one of its requests is in service.
      return special_fully_nested && (cascade >> input & 1) != 0 && (requests >> input & 1) != 0
                 ? static_cast<int>(input)
                 : -1;
    }
    // An input's own in-service bit holds it back, even if special mask mode lets it not hold others.
    if ((requests >> input & 1) != 0 && (isr >> input & 1) == 0) return static_cast<int>(input);
  }
  return -1;
}

void Pic8259::accept(unsigned input) {
  const u8 mask = static_cast<u8>(1u << input);
  if (!level_triggered(input)) irr &= static_cast<u8>(~mask);
  if (!auto_eoi) {
    isr |= mask;
  } else if (rotate_on_auto_eoi) {
    lowest = static_cast<u8>(input);
  }
}

void Pic8259::start_initialisation(u8 icw1) {
  const u8 keep_lines = lines, keep_elcr = elcr, keep_base = vector_base;
  *this = Pic8259{};
  imr = 0;
  lines = keep_lines;
  elcr = keep_elcr;
  vector_base = keep_base;
  level_mode = (icw1 & 8) != 0;
  single = (icw1 & 2) != 0;
  needs_icw4 = (icw1 & 1) != 0;
  init_step = 2;
  // The edge detectors are cleared: an input must rise again. Level inputs go on requesting.
  for (unsigned i = 0; i < 8; ++i)
    if (level_triggered(i)) irr |= static_cast<u8>(lines & (1u << i));
}

void Pic8259::write_command(u8 value) {
  if ((value & 0x10) != 0) return start_initialisation(value);
  if ((value & 0x08) != 0) {  // OCW3
    if ((value & 0x40) != 0) special_mask = (value & 0x20) != 0;
    poll = (value & 0x04) != 0;
    if ((value & 0x02) != 0) read_isr = (value & 0x01) != 0;
    return;
  }
  // OCW2: rotate, specific, EOI; and the input for the specific forms.
  const u8 level = value & 7;
  switch (value >> 5) {
    case 0:
      rotate_on_auto_eoi = false;
      break;
    case 4:
      rotate_on_auto_eoi = true;
      break;
    case 1:
    case 5:
      if (const int input = highest_in_service(); input >= 0) {
        isr &= static_cast<u8>(~(1u << input));
        if (value >> 5 == 5) lowest = static_cast<u8>(input);
      }
      break;
    case 3:
    case 7:
      isr &= static_cast<u8>(~(1u << level));
      if (value >> 5 == 7) lowest = level;
      break;
    case 6:
      lowest = level;
      break;
    default:
      break;
  }
}

void Pic8259::write_data(u8 value) {
  switch (init_step) {
    case 0:
      imr = value;
      break;
    case 2:
      vector_base = value & 0xf8;
      init_step = !single ? 3 : needs_icw4 ? 4 : 0;
      break;
    case 3:
      cascade = value;
      init_step = needs_icw4 ? 4 : 0;
      break;
    default:
      // The 8086 bit is not looked at: an x86 has no MCS-80 acknowledge cycle.
      auto_eoi = (value & 2) != 0;
      special_fully_nested = (value & 0x10) != 0;
      init_step = 0;
      break;
  }
}

// ---- The pair ----

Pic::Pic(const State& state) : state_(state) {
  for (Pic8259& chip : state_.chips) chip.lowest &= 7;
}

void Pic::connect(InterruptLine& intr) {
  std::scoped_lock lock(mutex_);
  update();
  intr_ = &intr;
  intr_->set(intr_level_);
}

void Pic::update() {
  auto& [master, slave] = state_.chips;
  master.set_line(kCascadeInput, slave.pending() >= 0);
  const bool level = master.pending() >= 0;
  if (level == intr_level_) return;
  intr_level_ = level;
  if (intr_ != nullptr) intr_->set(level);
}

void Pic::set_irq(unsigned irq, bool level) {
  if (irq > 15 || irq == kCascadeInput) return;
  std::scoped_lock lock(mutex_);
  state_.chips[irq >> 3].set_line(irq & 7, level);
  update();
}

u8 Pic::acknowledge() {
  std::scoped_lock lock(mutex_);
  auto& [master, slave] = state_.chips;
  acknowledged_.add();
  u8 vector = 0;
  if (const int input = master.pending(); input < 0) {
    spurious_.add();
    vector = master.vector_base | 7;  // IR7, and no bit in service
  } else {
    master.accept(static_cast<unsigned>(input));
    vector = static_cast<u8>(master.vector_base | input);
    if (input == kCascadeInput) {
      if (const int slave_input = slave.pending(); slave_input >= 0) {
        slave.accept(static_cast<unsigned>(slave_input));
        vector = static_cast<u8>(slave.vector_base | slave_input);
      } else {
        spurious_.add();
        vector = slave.vector_base | 7;
      }
      // The slave's INT falls between two acknowledges, so that its next request is a new edge at the master.
      master.set_line(kCascadeInput, false);
    }
  }
  update();
  return vector;
}

u8 Pic::poll(unsigned chip) {
  Pic8259& c = state_.chips[chip];
  c.poll = false;
  const int input = c.pending();
  if (input < 0) return 0;
  c.accept(static_cast<unsigned>(input));
  if (chip == kSlave || input == kCascadeInput) state_.chips[kMaster].set_line(kCascadeInput, false);
  update();
  return static_cast<u8>(0x80 | input);
}

u8 Pic::read_byte(unsigned port) {
  if (port >= 4) return state_.chips[port - 4].elcr;
  Pic8259& chip = state_.chips[port >> 1];
  if (chip.poll) return poll(port >> 1);
  return (port & 1) != 0 ? chip.imr : chip.read_command();
}

void Pic::write_byte(unsigned port, u8 value) {
  if (port >= 4) {
    Pic8259& chip = state_.chips[port - 4];
    chip.elcr = value & kElcrWritable[port - 4];
    for (unsigned i = 0; i < 8; ++i)
      if ((chip.elcr >> i & 1) != 0) chip.set_line(i, (chip.lines >> i & 1) != 0);
  } else if ((port & 1) != 0) {
    state_.chips[port >> 1].write_data(value);
  } else {
    state_.chips[port >> 1].write_command(value);
  }
  update();
}

u64 Pic::read(u64 offset, unsigned size) {
  std::scoped_lock lock(mutex_);
  u64 value = 0;
  for (unsigned i = 0; i < size; ++i)
    value |= u64{offset + i < kPortCount ? read_byte(static_cast<unsigned>(offset + i)) : u8{0xff}}
             << (8 * i);
  return value;
}

void Pic::write(u64 offset, unsigned size, u64 value) {
  std::scoped_lock lock(mutex_);
  for (unsigned i = 0; i < size && offset + i < kPortCount; ++i)
    write_byte(static_cast<unsigned>(offset + i), static_cast<u8>(value >> (8 * i)));
}

SavedState Pic::save() const {
  std::scoped_lock lock(mutex_);
  return encode_state(state_);
}

void Pic::stats(std::vector<StatRow>& rows) const {
  if (acknowledged_.get() != 0) rows.push_back({"pic", "acknowledged", acknowledged_.get(), 0});
  if (spurious_.get() != 0) rows.push_back({"pic", "spurious", spurious_.get(), 0});
}

}  // namespace vellum
