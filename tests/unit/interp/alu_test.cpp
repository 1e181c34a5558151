// Flags and conditions against their definitions (SDM vol. 1 §3.4.3.1, appendix B).
#include "cpu/interp/alu.hpp"

#include <gtest/gtest.h>

namespace vellum::interp {
namespace {

using namespace x86::rflags;

u64 definition_of_add(u8 a, u8 b) {
  const unsigned wide = a + b;
  const auto r = static_cast<u8>(wide);
  return (wide > 0xff ? kCf : 0) | (__builtin_parity(r) == 0 ? kPf : 0) |
         (((a ^ b ^ r) & 0x10) != 0 ? kAf : 0) | (r == 0 ? kZf : 0) | ((r & 0x80) != 0 ? kSf : 0) |
         (((a ^ r) & (b ^ r) & 0x80) != 0 ? kOf : 0);
}

TEST(Alu, AddOfBytesSetsEveryFlagByItsDefinition) {
  for (unsigned a = 0; a < 256; ++a) {
    for (unsigned b = 0; b < 256; ++b) {
      u64 flags = kFixed1 | kIf;
      const u8 r = Add::apply<u8>(static_cast<u8>(a), static_cast<u8>(b), flags);
      ASSERT_EQ(r, static_cast<u8>(a + b));
      ASSERT_EQ(flags, kFixed1 | kIf | definition_of_add(static_cast<u8>(a), static_cast<u8>(b)))
          << a << " + " << b;
    }
  }
}

TEST(Alu, AdcUsesTheCarry) {
  u64 flags = kFixed1 | kCf;
  EXPECT_EQ(Adc::apply<u32>(0xffffffff, 0, flags), 0u);
  EXPECT_EQ(flags & (kCf | kZf), kCf | kZf);
}

TEST(Alu, IncKeepsTheCarry) {
  u64 flags = kFixed1 | kCf;
  EXPECT_EQ(Inc::apply<u16>(0xffff, flags), 0u);
  EXPECT_EQ(flags & (kCf | kZf), kCf | kZf);
}

TEST(Alu, ShiftByZeroKeepsAllFlags) {
  u64 flags = kFixed1 | kArithmetic;
  EXPECT_EQ(Shl::apply<u32>(5, 32, flags), 5u);
  EXPECT_EQ(flags, kFixed1 | kArithmetic);
}

TEST(Alu, RclTakesTheCarryIn) {
  u64 flags = kFixed1 | kCf;
  EXPECT_EQ(Rcl::apply<u8>(0x80, 1, flags), 1u);
  EXPECT_NE(flags & kCf, 0u);
}

TEST(Alu, ConditionsByTheirDefinition) {
  for (u64 n = 0; n < 64; ++n) {
    const bool cf = n & 1, pf = n & 2, zf = n & 4, sf = n & 8, of = n & 16;
    const u64 flags = (cf ? kCf : 0) | (pf ? kPf : 0) | (zf ? kZf : 0) | (sf ? kSf : 0) | (of ? kOf : 0);
    EXPECT_EQ(condition<0x0>(flags), of);
    EXPECT_EQ(condition<0x2>(flags), cf);
    EXPECT_EQ(condition<0x4>(flags), zf);
    EXPECT_EQ(condition<0x6>(flags), cf || zf);
    EXPECT_EQ(condition<0x8>(flags), sf);
    EXPECT_EQ(condition<0xa>(flags), pf);
    EXPECT_EQ(condition<0xc>(flags), sf != of);
    EXPECT_EQ(condition<0xe>(flags), zf || sf != of);
    EXPECT_EQ(condition<0xf>(flags), !(zf || sf != of));
    EXPECT_EQ(condition<0x5>(flags), !zf);
  }
}

}  // namespace
}  // namespace vellum::interp
