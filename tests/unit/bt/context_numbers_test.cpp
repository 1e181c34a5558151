#include "cpu/bt/context_numbers.hpp"

#include <gtest/gtest.h>

namespace vellum::bt {
namespace {

constexpr u32 kKernel = 12, kUser = 15;

TEST(ContextNumbers, AMappingKeepsItsNumberWhileOthersComeAndGo) {
  ContextNumbers numbers;
  const u32 kernel = numbers.select(1, 5, kKernel);
  // Lower halves of many processes, some with a stamp that the kernel's number could be mistaken for.
  for (u64 stamp = 6; stamp < 500; ++stamp) {
    EXPECT_NE(numbers.select(0, stamp, kUser), kernel);
    EXPECT_EQ(numbers.select(1, 5, kKernel), kernel) << stamp;
  }
}

TEST(ContextNumbers, TwoProcessesInTurnKeepTheirs) {
  ContextNumbers numbers;
  for (u64 apart = 1; apart < 64; ++apart) {
    const u32 a = numbers.select(0, 100, kUser);
    const u32 b = numbers.select(0, 100 + apart, kUser);
    EXPECT_NE(a, b);
    EXPECT_EQ(numbers.select(0, 100, kUser), a) << apart;
    EXPECT_EQ(numbers.select(0, 100 + apart, kUser), b) << apart;
  }
}

TEST(ContextNumbers, HalvesAndPrivilegesDiffer) {
  ContextNumbers numbers;
  const u32 lower = numbers.select(0, 5, kKernel);
  EXPECT_NE(numbers.select(1, 5, kKernel), lower);
  EXPECT_NE(numbers.select(0, 5, kUser), lower);
}

TEST(ContextNumbers, ANumberTakenAwayIsNeverGivenAgain) {
  ContextNumbers numbers;
  const u32 first = numbers.select(0, 100, kUser);
  numbers.select(0, 100 + 64, kUser);
  EXPECT_GT(numbers.select(0, 100, kUser), first);
}

TEST(ContextNumbers, SaysWhenTheyAreUsedUp) {
  ContextNumbers numbers(4);
  numbers.select(0, 1, kUser);
  numbers.select(0, 2, kUser);
  EXPECT_FALSE(numbers.exhausted());
  numbers.select(0, 3, kUser);
  EXPECT_TRUE(numbers.exhausted());
  numbers.restart();
  EXPECT_FALSE(numbers.exhausted());
  EXPECT_EQ(numbers.select(0, 1, kUser), 1u);
}

}  // namespace
}  // namespace vellum::bt
