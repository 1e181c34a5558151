#include "devices/legacy/pit_channel.hpp"

#include <algorithm>

namespace vellum {
namespace {

constexpr u32 from_bcd(u16 v) {
  return (v >> 12) * 1000u + (v >> 8 & 15) * 100u + (v >> 4 & 15) * 10u + (v & 15);
}
constexpr u16 to_bcd(u32 v) {
  return static_cast<u16>(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

}  // namespace

void PitChannel::sanitise() {
  mode_bits &= 7;
  if (access < 1 || access > 3) access = 3;
  value = std::min(value, modulus());
  if (mode() == 2 && counting && value < 1) value = 1;
}

u32 PitChannel::count() const {
  // 0 is the largest count. Digits above 9 are undefined in BCD; they count by their weight, below the
  // modulus.
  const u32 n = bcd ? from_bcd(count_register) % 10'000 : count_register;
  const u32 least = periodic() ? 2 : 1;  // 1 is illegal in modes 2 and 3
  return n == 0 ? modulus() : std::max(n, least);
}

u16 PitChannel::read_out() const {
  const u32 v = value % modulus();
  return bcd ? to_bcd(v) : static_cast<u16>(v);
}

u8 PitChannel::status() const {
  return static_cast<u8>((out ? 0x80 : 0) | (null_count ? 0x40 : 0) | access << 4 | mode_bits << 1 |
                         (bcd ? 1 : 0));
}

bool PitChannel::enabled() const {
  if (!counting) return false;
  if (mode() == 1 || mode() == 5) return true;  // there the gate is a trigger only
  // In mode 0 the first byte of a new count stops the old one.
  return gate && !(mode() == 0 && write_high_next);
}

// ---- Counting ----

void PitChannel::load() {
  const u32 n = count();
  load_next = false;
  null_count = false;
  counting = true;
  armed = true;
  odd = mode() == 3 && (n & 1) != 0;
  value = odd ? n - 1 : n;
  if (mode() == 1) out = false;
}

void PitChannel::decrement(u64 pulses) {
  const u32 m = modulus();
  value = static_cast<u32>((value % m + m - pulses % m) % m);
}

u64 PitChannel::half_left() const {
  // By twos; of an odd count the high half takes one pulse more.
  return value / 2 + (odd && out ? 1 : 0);
}

// Mode 3, `pulses` > 0 of them with the counter enabled.
u64 PitChannel::step_square(u64 pulses) {
  u64 rises = 0;
  const u64 left = std::max<u64>(half_left(), 1);
  if (pulses < left) {
    value = value > 2 * pulses ? value - static_cast<u32>(2 * pulses) : 0;
    pulse += pulses;
    return 0;
  }
  pulse += left;
  pulses -= left;
  out = !out;
  rises += out ? 1 : 0;
  load();  // both halves begin with what CR holds then
  const u64 periods = pulses / count();
  pulse += periods * count();
  return rises + periods;
}

// Moves up to `pulses` > 0 pulses on, to the next event at most. Returns the rises of OUT.
u64 PitChannel::step(u64 pulses) {
  if (load_next) {
    ++pulse;
    load();
    return 0;
  }
  const bool strobing = (mode() == 4 || mode() == 5) && counting && !out;
  if (strobing) {  // low for one CLK pulse, whatever the gate does
    ++pulse;
    if (enabled()) decrement(1);
    out = true;
    return 1;
  }
  if (!enabled()) {
    pulse += pulses;
    return 0;
  }
  if (mode() == 3) return step_square(pulses);
  const u64 event = mode() == 2 ? (out ? to_zero() - 1 : 1) : to_zero();
  const bool waits = mode() == 2 || armed;
  if (!waits || pulses < event) {
    decrement(pulses);
    pulse += pulses;
    return 0;
  }
  pulse += event;
  switch (mode()) {
    case 0:
    case 1:
      armed = false;
      decrement(event);
      out = true;
      return 1;
    case 2: {
      if (out) {  // the count is 1: low for one pulse
        value = 1;
        out = false;
        return 0;
      }
      out = true;
      load();
      const u64 periods = (pulses - event) / count();
      pulse += periods * count();
      return 1 + periods;
    }
    default:  // 4, 5
      armed = false;
      decrement(event);
      out = false;
      return 0;
  }
}

u64 PitChannel::advance(u64 to) {
  u64 rises = 0;
  while (pulse < to) rises += step(to - pulse);
  return rises;
}

std::optional<u64> PitChannel::pulses_to_rise() const {
  if (load_next) {
    PitChannel after = *this;
    if (after.advance(pulse + 1) != 0) return 1;
    const auto rest = after.pulses_to_rise();
    return rest ? std::optional<u64>(*rest + 1) : std::nullopt;
  }
  if ((mode() == 4 || mode() == 5) && counting && !out) return 1;
  if (!enabled()) return std::nullopt;
  switch (mode()) {
    case 0:
    case 1:
      return armed && !out ? std::optional<u64>(to_zero()) : std::nullopt;
    case 2:
      return to_zero();
    case 3:
      return std::max<u64>(half_left(), 1) + (out ? count() / 2 : 0);
    default:
      return armed ? std::optional<u64>(u64{to_zero()} + 1) : std::nullopt;
  }
}

// ---- Programming ----

void PitChannel::write_control(u8 new_access, u8 new_mode, bool new_bcd) {
  access = new_access;
  mode_bits = new_mode & 7;
  bcd = new_bcd;
  write_high_next = read_high_next = false;
  count_latched = status_latched = false;
  programmed = load_next = counting = armed = odd = false;
  null_count = true;
  value %= modulus();
  out = mode() != 0;
}

void PitChannel::write_count(u8 byte) {
  if (access == 3 && !write_high_next) {
    low_byte = byte;
    write_high_next = true;
    if (mode() == 0) out = false;
    return;
  }
  if (access == 1) count_register = byte;
  if (access == 2) count_register = static_cast<u16>(byte << 8);
  if (access == 3) count_register = static_cast<u16>(byte << 8 | low_byte);
  write_high_next = false;
  null_count = true;
  const bool first = !programmed;
  programmed = true;
  switch (mode()) {
    case 0:
      out = false;
      load_next = true;
      break;
    case 4:
      load_next = true;
      break;
    case 2:
    case 3:
      if (first) load_next = true;  // later counts wait for the end of the period (mode 3: half period)
      break;
    default:
      break;  // 1, 5: the trigger loads
  }
}

void PitChannel::set_gate(bool level) {
  const bool rising = level && !gate;
  gate = level;
  if (periodic() && !level) out = true;
  if (rising && programmed && mode() != 0 && mode() != 4) load_next = true;
}

u8 PitChannel::read_count() {
  if (status_latched) {
    status_latched = false;
    return latched_status;
  }
  const u16 v = count_latched ? latched_count : read_out();
  if (access == 3 && !read_high_next) {
    read_high_next = true;
    return static_cast<u8>(v);
  }
  read_high_next = false;
  count_latched = false;
  return static_cast<u8>(access == 1 ? v : v >> 8);
}

void PitChannel::latch_count() {
  if (count_latched) return;  // the first one holds until it is read
  count_latched = true;
  latched_count = read_out();
}

void PitChannel::latch_status() {
  if (status_latched) return;
  status_latched = true;
  latched_status = status();
}

}  // namespace vellum
