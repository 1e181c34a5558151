#include "devices/legacy/rtc.hpp"

#include <algorithm>

namespace vellum {
namespace {

enum : u8 {
  kSeconds = 0,
  kSecondsAlarm = 1,
  kMinutes = 2,
  kMinutesAlarm = 3,
  kHours = 4,
  kHoursAlarm = 5,
  kWeekday = 6,
  kDay = 7,
  kMonth = 8,
  kYear = 9,
  kA = 0xa,
  kB = 0xb,
  kC = 0xc,
  kD = 0xd,
};
namespace a {
constexpr u8 kUip = 0x80, kDivider = 0x70, kDividerRun = 0x20, kRate = 0x0f;
}
namespace b {
constexpr u8 kSet = 0x80, kPie = 0x40, kAie = 0x20, kUie = 0x10, kBinary = 0x04, k24Hour = 0x02;
}
namespace c {
constexpr u8 kIrqf = 0x80, kPf = 0x40, kAf = 0x20, kUf = 0x10, kFlags = 0x70;
}
constexpr u8 kValidRam = 0x80;  // register D

constexpr u64 kOscillatorHz = 32'768;
/// UIP rises 244 us before the update, which takes 1984 us with a 32 kHz time base (data sheet, figure 16).
constexpr u64 kUpdateNs = (244 + 1984) * 1000;
/// Out of divider reset, the first update comes half a second later.
constexpr u64 kFirstUpdateNs = 500'000'000;

/// The first second of year 0 and the last of year 9999.
constexpr i64 kYear0 = -62'167'219'200, kYear9999 = 253'402'300'799;

constexpr u64 kNever = ~u64{0};

/// Register C with IRQF as the enables in B make it: PF, AF and UF stand where PIE, AIE and UIE do.
constexpr u8 with_request(u8 flags, u8 enabled) {
  return static_cast<u8>((flags & enabled & c::kFlags) != 0 ? flags | c::kIrqf : flags & ~c::kIrqf);
}

constexpr i64 second_of_day(i64 epoch_seconds) {
  return (epoch_seconds % 86'400 + 86'400) % 86'400;
}

constexpr bool is_time_register(u8 i) {
  return (i <= kYear && i != 1 && i != 3 && i != 5) || i == Rtc::kCenturyRegister;
}

}  // namespace

Rtc::State Rtc::State::power_up(u64 low_memory, u64 high_memory, unsigned cpus,
                                std::array<u8, 2> floppy_drives) {
  State s;
  s.ram[kA] = a::kDividerRun | 6;  // 1024 Hz, as firmware programs it
  s.ram[kB] = b::k24Hour;
  s.ram[kD] = kValidRam;
  const auto put16 = [&s](u8 at, u64 value) {
    s.ram[at] = static_cast<u8>(value);
    s.ram[at + 1] = static_cast<u8>(value >> 8);
  };
  constexpr u64 kKiB = 1024, kMiB = kKiB * kKiB;
  const u64 above_1m = low_memory > kMiB ? (low_memory - kMiB) / kKiB : 0;
  const u64 above_16m = low_memory > 16 * kMiB ? (low_memory - 16 * kMiB) / (64 * kKiB) : 0;
  put16(0x15, 640);
  put16(0x17, std::min<u64>(above_1m, 0xffff));
  put16(0x30, std::min<u64>(above_1m, 0xffff));
  put16(0x34, std::min<u64>(above_16m, 0xffff));
  const u64 above_4g = std::min<u64>(high_memory / (64 * kKiB), 0xff'ffff);
  put16(0x5b, above_4g);
  s.ram[0x5d] = static_cast<u8>(above_4g >> 16);
  const auto [first, second] = floppy_drives;
  s.ram[0x10] = static_cast<u8>(first << 4 | second);
  // Equipment: a coprocessor; bit 0 any floppy drives, 7..6 how many beyond the first.
  s.ram[0x14] =
      static_cast<u8>(0x02 | (first != 0 || second != 0 ? 0x01 : 0) | (first != 0 && second != 0 ? 0x40 : 0));
  // What Bochs' and QEMU's firmware looks for: further processors; boot from disk (2), CD-ROM (3), floppy
  // (1).
  s.ram[0x5f] = static_cast<u8>(cpus - 1);
  s.ram[0x3d] = 0x32;
  s.ram[0x38] = 0x10;
  unsigned sum = 0;  // of 0x10 to 0x2d, high byte first
  for (unsigned i = 0x10; i <= 0x2d; ++i) sum += s.ram[i];
  s.ram[0x2e] = static_cast<u8>(sum >> 8);
  s.ram[0x2f] = static_cast<u8>(sum);
  return s;
}

Rtc::Rtc(Clock& clock, InterruptLine& irq8, const State& state)
    : clock_(clock), irq8_(irq8), state_(state), nmi_masked_(state.nmi_masked), timer_(clock, [this] {
        on_timer();
      }) {
  std::scoped_lock lock(mutex_);
  const u64 now = clock_.now_ns();
  // Decoded state may hold any values: a position below 128, a fraction below a second, nothing seen of the
  // future, and a time within the years that the registers can show.
  state_.index &= 0x7f;
  state_.wall_offset.ns %= static_cast<u32>(kNsPerSecond);
  state_.seen_ns = std::min(state_.seen_ns, now);
  RtcSpan time = wall_time() + state_.wall_offset;
  time.seconds = std::clamp(time.seconds, kYear0, kYear9999);
  base_ = time - span_of_ns(now);
  sync(now);
  update_irq();
  rearm(now);
}

// ---- Time ----

bool Rtc::running() const {
  return (state_.ram[kB] & b::kSet) == 0 && (state_.ram[kA] & a::kDivider) == a::kDividerRun;
}

RtcSpan Rtc::wall_time() const {
  const WallTime wall = clock_.wall_time();
  return {static_cast<i64>(wall.seconds), wall.nanoseconds};
}

void Rtc::set_time(u64 now, RtcSpan time) {
  base_ = time - span_of_ns(now);
  state_.wall_offset = time - wall_time();
}

u64 Rtc::start_of(i64 rtc_second) const {
  const auto seconds = static_cast<u64>(rtc_second) - static_cast<u64>(base_.seconds);
  const u128 ns = static_cast<u128>(seconds) * kNsPerSecond - base_.ns;
  return static_cast<u64>(std::min<u128>(ns, kNever));
}

u8 Rtc::encode(unsigned value) const {
  return static_cast<u8>((state_.ram[kB] & b::kBinary) != 0 ? value : value / 10 << 4 | value % 10);
}

unsigned Rtc::decode(u8 value) const {
  return (state_.ram[kB] & b::kBinary) != 0 ? value : (value >> 4) * 10u + (value & 15);
}

u8 Rtc::encode_hour(unsigned hour) const {
  if ((state_.ram[kB] & b::k24Hour) != 0) return encode(hour);
  const unsigned twelve = hour % 12 == 0 ? 12 : hour % 12;
  return static_cast<u8>(encode(twelve) | (hour >= 12 ? 0x80 : 0));
}

unsigned Rtc::decode_hour(u8 value) const {
  if ((state_.ram[kB] & b::k24Hour) != 0) return decode(value);
  return decode(value & 0x7f) % 12 + ((value & 0x80) != 0 ? 12 : 0);
}

void Rtc::load_time_registers(u64 now) {
  if (!running()) return;
  const RtcTime t = rtc_time_of(seconds_at(now));
  auto& r = state_.ram;
  r[kSeconds] = encode(t.second);
  r[kMinutes] = encode(t.minute);
  r[kHours] = encode_hour(t.hour);
  r[kWeekday] = encode((t.weekday - 1 + state_.weekday_bias) % 7 + 1);
  r[kDay] = encode(t.day);
  r[kMonth] = encode(t.month);
  r[kYear] = encode(static_cast<unsigned>(t.year % 100));
  r[kCenturyRegister] = encode(static_cast<unsigned>(t.year / 100 % 100));
}

void Rtc::store_time_registers(u64 now) {
  // GUEST-CONTROLLED: any bytes. What is no date becomes the nearest date in the calendar's arithmetic.
  const auto& r = state_.ram;
  RtcTime t;
  t.second = decode(r[kSeconds]);
  t.minute = decode(r[kMinutes]);
  t.hour = decode_hour(r[kHours]);
  t.day = std::clamp(decode(r[kDay]), 1u, 31u);
  t.month = std::clamp(decode(r[kMonth]), 1u, 12u);
  t.year = decode(r[kCenturyRegister]) % 100 * 100 + decode(r[kYear]) % 100;
  const i64 seconds = epoch_seconds_of(t);
  set_time(now, {seconds, time_at(now).ns});
  const unsigned calendar = rtc_time_of(seconds).weekday;
  state_.weekday_bias = static_cast<u8>((decode(r[kWeekday]) + 14 - calendar) % 7);
}

bool Rtc::updating(u64 now) const {
  return running() && kNsPerSecond - time_at(now).ns <= kUpdateNs;
}

// ---- Interrupts ----

u64 Rtc::periodic_ticks(u64 ns) const {
  const unsigned rate = state_.ram[kA] & a::kRate;
  if (rate == 0 || (state_.ram[kA] & a::kDivider) != a::kDividerRun) return 0;
  // Rates 1 and 2 are those of 8 and 9 (256 and 128 Hz): the 32 kHz time base has no faster taps there.
  const unsigned shift = rate <= 2 ? rate + 6 : rate - 1;
  return ticks_at(u128{base_.ns} + ns, kOscillatorHz) >> shift;
}

u64 Rtc::periodic_ns() const {
  const unsigned rate = state_.ram[kA] & a::kRate;
  const unsigned shift = rate <= 2 ? rate + 6 : rate - 1;
  const u64 next = (periodic_ticks(state_.seen_ns) + 1) << shift;
  return ns_of_ticks(next, kOscillatorHz) - base_.ns;
}

std::optional<i64> Rtc::next_alarm_after(i64 second) const {
  // The chip compares register bytes; 11xxxxxx in an alarm byte matches anything.
  const auto matches = [this](u8 alarm, u8 value) {
    const u8 byte = state_.ram[alarm];
    return (byte & 0xc0) == 0xc0 || byte == value;
  };
  const i64 first = second + 1;
  const i64 last = second + 86'400;  // a day later everything repeats
  for (i64 s = first; s <= last;) {
    const i64 in_day = second_of_day(s);
    if (!matches(kHoursAlarm, encode_hour(static_cast<unsigned>(in_day / 3600)))) {
      s += 3600 - in_day % 3600;
    } else if (!matches(kMinutesAlarm, encode(static_cast<unsigned>(in_day / 60 % 60)))) {
      s += 60 - in_day % 60;
    } else if (!matches(kSecondsAlarm, encode(static_cast<unsigned>(in_day % 60)))) {
      ++s;
    } else {
      return s;
    }
  }
  return std::nullopt;
}

u8 Rtc::risen_flags(u64 now) const {
  u8 flags = 0;
  if (periodic_ticks(now) != periodic_ticks(state_.seen_ns)) flags |= c::kPf;
  if (running()) {
    const i64 before = seconds_at(state_.seen_ns);
    const i64 after = seconds_at(now);
    if (after > before) {
      flags |= c::kUf;
      const auto alarm = next_alarm_after(before);
      if (alarm && *alarm <= after) flags |= c::kAf;
    }
  }
  return flags;
}

void Rtc::sync(u64 now) {
  state_.ram[kC] |= risen_flags(now);
  state_.seen_ns = now;
}

void Rtc::update_irq() {
  u8& flags = state_.ram[kC];
  const u8 before = flags;
  flags = with_request(flags, state_.ram[kB]);
  if ((flags & ~before & c::kIrqf) != 0) interrupts_.add();
  irq8_.set((flags & c::kIrqf) != 0);
}

void Rtc::rearm(u64 now) {
  const u8 enabled = state_.ram[kB];
  u64 deadline = kNever;
  if ((state_.ram[kC] & c::kIrqf) == 0) {
    if ((enabled & b::kPie) != 0 && (state_.ram[kA] & a::kRate) != 0 &&
        (state_.ram[kA] & a::kDivider) == a::kDividerRun)
      deadline = std::min(deadline, periodic_ns());
    if (running()) {
      const i64 second = seconds_at(now);
      if ((enabled & b::kUie) != 0) deadline = std::min(deadline, start_of(second + 1));
      if ((enabled & b::kAie) != 0)
        if (const auto alarm = next_alarm_after(second)) deadline = std::min(deadline, start_of(*alarm));
    }
  }
  timer_.arm(deadline);
}

void Rtc::on_timer() {
  std::scoped_lock lock(mutex_);
  const u64 now = clock_.now_ns();
  sync(now);
  update_irq();
  rearm(now);
}

// ---- Registers ----

u8 Rtc::read_register(u8 index) {
  const u64 now = clock_.now_ns();
  sync(now);
  switch (index) {
    case kA:
      return static_cast<u8>((state_.ram[kA] & ~a::kUip) | (updating(now) ? a::kUip : 0));
    case kC: {
      update_irq();
      const u8 flags = state_.ram[kC];
      state_.ram[kC] = 0;
      update_irq();
      rearm(now);
      return flags;
    }
    case kD:
      return kValidRam;
    default:
      if (is_time_register(index)) load_time_registers(now);
      return state_.ram[index];
  }
}

void Rtc::write_register(u8 index, u8 value) {
  const u64 now = clock_.now_ns();
  sync(now);
  load_time_registers(now);
  const bool was_running = running();
  switch (index) {
    case kA: {
      const bool was_reset = (state_.ram[kA] & a::kDivider) >= 0x60;
      state_.ram[kA] = value & static_cast<u8>(~a::kUip);
      if (was_reset && (value & a::kDivider) == a::kDividerRun)
        set_time(now, {seconds_at(now), static_cast<u32>(kNsPerSecond - kFirstUpdateNs)});
      break;
    }
    case kB:
      // SET aborts an update and clears UIE (data sheet, register B).
      state_.ram[kB] = static_cast<u8>((value & b::kSet) != 0 ? value & ~b::kUie : value);
      break;
    case kC:
    case kD:
      break;
    default:
      state_.ram[index] = value;
      if (was_running && is_time_register(index)) store_time_registers(now);
      break;
  }
  if (!was_running && running()) store_time_registers(now);
  update_irq();
  rearm(now);
}

u8 Rtc::read_byte(u64 offset) {
  std::scoped_lock lock(mutex_);
  return offset == 1 ? read_register(state_.index) : 0xff;
}

void Rtc::write_byte(u64 offset, u8 value) {
  std::scoped_lock lock(mutex_);
  if (offset == 0) {
    state_.index = value & 0x7f;
    state_.nmi_masked = (value & 0x80) != 0;
    nmi_masked_.store(state_.nmi_masked, std::memory_order_relaxed);
  } else if (offset == 1) {
    write_register(state_.index, value);
  }
}

SavedState Rtc::save() const {
  std::scoped_lock lock(mutex_);
  // Brought up to the present, so that what is saved does not depend on when the guest last looked.
  State s = state_;
  const u64 now = clock_.now_ns();
  s.ram[kC] = with_request(static_cast<u8>(s.ram[kC] | risen_flags(now)), s.ram[kB]);
  s.seen_ns = now;
  return encode_state(s);
}

void Rtc::stats(std::vector<StatRow>& rows) const {
  if (interrupts_.get() != 0) rows.push_back({"device rtc", "interrupts", interrupts_.get(), 0});
}

}  // namespace vellum
