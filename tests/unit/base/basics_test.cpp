// Bits, addresses, results, counters.
#include <gtest/gtest.h>

#include "base/address.hpp"
#include "base/bits.hpp"
#include "base/fd.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "base/stats.hpp"

namespace vellum {
namespace {

static_assert(bits(0xabcd, 11, 4) == 0xbc);
static_assert(bits(~u64{0}, 63, 0) == ~u64{0});
static_assert(low_mask(0) == 0 && low_mask(1) == 1 && low_mask(64) == ~u64{0});
static_assert(sign_extend(0x80, 8) == -128 && sign_extend(0x7f, 8) == 127 && sign_extend(~u64{0}, 64) == -1);
static_assert(align_up(0x1001, 0x1000) == 0x2000 && align_up(0x1000, 0x1000) == 0x1000);
static_assert(align_down(0x1fff, 0x1000) == 0x1000);

static_assert(!std::is_convertible_v<GuestVirt, GuestPhys> && !std::is_constructible_v<GuestPhys, GuestVirt>);
static_assert(!std::is_convertible_v<u64, GuestPhys>, "an address is named for what it is");
static_assert(GuestPhys(0x12345).page_offset() == 0x345 &&
              GuestPhys(0x12345).page_base() == GuestPhys(0x12000));
static_assert(GuestFrame(GuestPhys(0x12345)).base() == GuestPhys(0x12000));
static_assert(GuestPhysRange{GuestPhys(0x1000), 0x1000}.contains(GuestPhys(0x1fff)));
static_assert(!GuestPhysRange{GuestPhys(0x1000), 0x1000}.contains(GuestPhys(0x2000)));
static_assert(!GuestPhysRange{GuestPhys(0x1000), 0x1000}.contains(GuestPhys(0xfff)));

Result<int> half(int n) {
  if (n % 2 != 0) return fail(ErrorCode::kInvalidArgument, "{} is odd", n);
  return n / 2;
}
Result<int> quarter(int n) {
  VELLUM_TRY_ASSIGN(first, half(n));
  VELLUM_TRY(half(first));
  return first / 2;
}

TEST(Result, ErrorsTravelWithTheirMessage) {
  EXPECT_EQ(quarter(8).value(), 2);
  const auto error = quarter(6);
  ASSERT_FALSE(error);
  EXPECT_EQ(error.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(error.error().message, "3 is odd");
  EXPECT_EQ(Error(error.error()).context("dividing").message, "dividing: 3 is odd");
}

TEST(FileContents, SaysWhichFileAndWhy) {
  const auto missing = FileContents::map("/nonexistent/kernel");
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("/nonexistent/kernel"), std::string::npos);
  EXPECT_FALSE(FileContents::map("/"));
  EXPECT_FALSE(FileContents::map("/dev/null"));
}

TEST(FileDescriptor, MovesOwnership) {
  auto first = FileDescriptor::open("/dev/null", 0);
  ASSERT_TRUE(first);
  const int number = first->get();
  FileDescriptor second(std::move(*first));
  EXPECT_FALSE(*first);
  EXPECT_EQ(second.get(), number);
}

TEST(RateLimit, LetsABurstThroughAndThenPowersOfTwo) {
  RateLimit limit;
  int allowed = 0;
  for (int i = 0; i < 1024; ++i) allowed += limit.allow() ? 1 : 0;
  EXPECT_EQ(allowed, 8 + 7);  // 16, 32 … 1024
  EXPECT_EQ(limit.count(), 1024u);
}

TEST(Counter, Counts) {
  Counter counter;
  counter.add();
  counter.add(41);
  EXPECT_EQ(counter.get(), 42u);
}

}  // namespace
}  // namespace vellum
