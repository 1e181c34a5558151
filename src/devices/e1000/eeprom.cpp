#include "devices/e1000/eeprom.hpp"

namespace vellum::e1000 {
namespace {

// EECD (§13.4.3).
constexpr u32 kClock = 1 << 0, kSelect = 1 << 1, kDataIn = 1 << 2, kDataOut = 1 << 3, kWritePins = 0x37,
              kRequest = 1 << 6, kGrant = 1 << 7, kPresent = 1 << 8;

// Words (§5.6).
constexpr unsigned kControl1 = 0x0a, kSubsystem = 0x0b, kSubsystemVendor = 0x0c, kDevice = 0x0d,
                   kVendor = 0x0e, kControl2 = 0x0f, kChecksumWord = 0x3f;
constexpr u16 kSum = 0xbaba;

// A command: a start bit, two of an operation, six of an address; then, for writes, sixteen of data.
constexpr u8 kCommandBits = 9, kWriteBits = kCommandBits + 16;
constexpr u8 kOutBits = 17;

}  // namespace

Eeprom::Eeprom(const net::MacAddress& mac) {
  auto& w = s_.words;
  w.fill(0xffff);
  for (unsigned n = 0; n < 3; ++n) w[n] = static_cast<u16>(mac[2 * n] | mac[2 * n + 1] << 8);
  w[3] = 0;
  // A valid image (01b), full duplex, the ids below are to be used.
  w[kControl1] = 0x4403;
  w[kSubsystem] = 0x001e;
  w[kSubsystemVendor] = 0x8086;
  w[kDevice] = 0x100e;
  w[kVendor] = 0x8086;
  // Pause frames both ways are offered.
  w[kControl2] = 0x3000;
  u16 sum = 0;
  for (unsigned n = 0; n < kChecksumWord; ++n) sum = static_cast<u16>(sum + w[n]);
  w[kChecksumWord] = static_cast<u16>(kSum - sum);
}

net::MacAddress Eeprom::mac() const {
  net::MacAddress mac{};
  for (unsigned n = 0; n < mac.size(); ++n) mac[n] = static_cast<u8>(s_.words[n / 2] >> (8 * (n % 2)));
  return mac;
}

u32 Eeprom::read_pins() const {
  u32 value = s_.pins | kPresent;
  if ((s_.pins & kRequest) != 0) value |= kGrant;
  // While nothing is shifted out the chip says that it is ready.
  const bool out = s_.out_bits == 0 || (s_.out_bits < kOutBits && (s_.out >> (s_.out_bits - 1) & 1) != 0);
  return out ? value | kDataOut : value;
}

void Eeprom::write_pins(u32 value) {
  const bool rises = (value & kClock) != 0 && (s_.pins & kClock) == 0;
  s_.pins = value & (kWritePins | kRequest);
  if ((value & kSelect) == 0) {
    s_.shift = 0, s_.bits = 0, s_.out_bits = 0;
    s_.ended = false;
  } else if (rises) {
    clock_in((value & kDataIn) != 0);
  }
}

void Eeprom::release() {
  write_pins(0);
}

void Eeprom::clock_in(bool bit) {
  if (s_.out_bits != 0) {
    if (--s_.out_bits != 0) return;
    // Reading goes on with the next word, without another 0 before it.
    s_.address = static_cast<u8>((s_.address + 1) % kWords);
    s_.out = s_.words[s_.address];
    s_.out_bits = kOutBits - 1;
    return;
  }
  if (s_.ended || (s_.bits == 0 && !bit)) return;
  s_.shift = s_.shift << 1 | (bit ? 1 : 0);
  ++s_.bits;
  command();
}

void Eeprom::command() {
  const unsigned after = s_.bits - kCommandBits;
  if (s_.bits < kCommandBits) return;
  const u32 first = s_.shift >> after;
  const u32 operation = first >> 6 & 3, address = first & 63;
  const u16 data = static_cast<u16>(s_.shift);
  const bool extended = operation == 0;
  const bool writes_one = operation == 1, writes_all = extended && address >> 4 == 1;
  if ((writes_one || writes_all) && s_.bits < kWriteBits) return;
  if (operation == 2) {
    s_.address = static_cast<u8>(address);
    s_.out = s_.words[address];
    s_.out_bits = kOutBits;
    return;
  }
  s_.ended = true;
  if (extended && address >> 4 == 3) s_.writes = true;
  if (extended && address >> 4 == 0) s_.writes = false;
  if (!s_.writes) return;
  if (writes_one) s_.words[address] = data;
  if (writes_all) s_.words.fill(data);
  if (operation == 3) s_.words[address] = 0xffff;
  if (extended && address >> 4 == 2) s_.words.fill(0xffff);
}

void Eeprom::restore(const State& state) {
  s_ = state;
  s_.address %= kWords;
  if (s_.bits > kWriteBits || s_.out_bits > kOutBits) release();
}

}  // namespace vellum::e1000
