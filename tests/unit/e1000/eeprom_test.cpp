#include "fixture.hpp"

namespace vellum {
namespace {

using namespace e1000;

constexpr u32 kClock = 1, kSelect = 2, kIn = 4, kOut = 8, kRequest = 0x40, kGrant = 0x80, kPresent = 0x100;

struct E1000Eeprom : test::E1000 {
  void shift_out(u32 value, unsigned bits) {
    for (unsigned n = bits; n-- > 0;) {
      const u32 in = (value >> n & 1) != 0 ? kIn : 0;
      set(kEecd, kSelect | in);
      set(kEecd, kSelect | in | kClock);
    }
  }
  u16 shift_in() {
    u32 value = 0;
    for (unsigned n = 0; n < 16; ++n) {
      set(kEecd, kSelect);
      set(kEecd, kSelect | kClock);
      value = value << 1 | ((get(kEecd) & kOut) != 0 ? 1 : 0);
    }
    return static_cast<u16>(value);
  }
  void end() { set(kEecd, 0); }
  u16 read(u32 word) {
    shift_out(6 << 6 | word, 9);
    const u16 value = shift_in();
    end();
    return value;
  }
  u32 read_by_register(u32 word) {
    set(kEerd, word << 8 | kEerdStart);
    return get(kEerd);
  }
};

TEST_F(E1000Eeprom, HoldsTheAddressAndARightSum) {
  EXPECT_EQ(read(0), 0x5452);
  EXPECT_EQ(read(2), 0x0302);
  u16 sum = 0;
  for (u32 n = 0; n < 64; ++n) sum = static_cast<u16>(sum + read(n));
  EXPECT_EQ(sum, 0xbaba);
}

TEST_F(E1000Eeprom, BothWaysLeadToTheSameWords) {
  EXPECT_EQ(read_by_register(0x0d), 0x100e'0d10u);
  EXPECT_EQ(read(0x0d), 0x100e);
  EXPECT_EQ(read_by_register(0x40) >> 16, 0xffffu);
}

TEST_F(E1000Eeprom, ReadingGoesOnWithTheNextWord) {
  shift_out(6 << 6 | 0, 9);
  EXPECT_EQ(get(kEecd) & kOut, 0u);  // the 0 in front
  EXPECT_EQ(shift_in(), 0x5452);
  EXPECT_EQ(shift_in(), 0x0100);
}

TEST_F(E1000Eeprom, AccessIsGranted) {
  set(kEecd, kRequest);
  EXPECT_EQ(get(kEecd) & (kRequest | kGrant | kPresent), kRequest | kGrant | kPresent);
  set(kEecd, 0);
  EXPECT_EQ(get(kEecd) & kGrant, 0u);
}

TEST_F(E1000Eeprom, IsWrittenOnceWritingIsEnabled) {
  shift_out(5 << 6 | 1, 9), shift_out(0x1234, 16), end();
  const u16 before = read(1);
  shift_out(4 << 6 | 0x30, 9), end();
  shift_out(5 << 6 | 1, 9), shift_out(0x1234, 16), end();
  shift_out(4 << 6, 9), end();
  shift_out(5 << 6 | 1, 9), shift_out(0x5678, 16), end();
  EXPECT_EQ(before, 0x0100);
  EXPECT_EQ(read(1), 0x1234);
  set(kCtrl, kReset);
  EXPECT_EQ(get(kRal), 0x1234'5452u);
}

}  // namespace
}  // namespace vellum
