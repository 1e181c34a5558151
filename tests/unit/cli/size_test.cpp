#include "cli/size.hpp"

#include <gtest/gtest.h>

namespace vellum::cli {
namespace {

struct Case {
  const char* text;
  u64 bytes;
};

class ParseSize : public ::testing::TestWithParam<Case> {};

TEST_P(ParseSize, GivesBytes) {
  const auto size = parse_size(GetParam().text);
  ASSERT_TRUE(size) << size.error().message;
  EXPECT_EQ(*size, GetParam().bytes);
}

INSTANTIATE_TEST_SUITE_P(Units, ParseSize,
                         ::testing::Values(Case{"512M", u64{512} << 20}, Case{"512", u64{512} << 20},
                                           Case{"1G", u64{1} << 30}, Case{"2g", u64{2} << 30},
                                           Case{"64K", u64{64} << 10}, Case{"1T", u64{1} << 40},
                                           Case{"1.5G", u64{3} << 29}, Case{"0.5M", u64{1} << 19},
                                           Case{"256MB", u64{256} << 20}, Case{"256MiB", u64{256} << 20},
                                           Case{"0", 0}));

struct BadCase {
  const char* text;
  const char* message;
};

class ParseBadSize : public ::testing::TestWithParam<BadCase> {};

TEST_P(ParseBadSize, SaysWhatIsWrongAndWhatToDo) {
  const auto size = parse_size(GetParam().text);
  ASSERT_FALSE(size);
  EXPECT_EQ(size.error().message, GetParam().message);
}

constexpr const char* kNotASize = "not a size; give a number and K, M, G or T, as in 512M";

INSTANTIATE_TEST_SUITE_P(
    Texts, ParseBadSize,
    ::testing::Values(BadCase{"512Q", "'512Q': unknown unit 'Q'; use K, M, G or T, as in 512M"},
                      BadCase{"512MM", "'512MM': unknown unit 'MM'; use K, M, G or T, as in 512M"},
                      BadCase{"5 M", "'5 M': unknown unit ' M'; use K, M, G or T, as in 512M"},
                      BadCase{"", "'': not a size; give a number and K, M, G or T, as in 512M"},
                      BadCase{"-1M", "'-1M': not a size; give a number and K, M, G or T, as in 512M"},
                      BadCase{"1.G", "'1.G': not a size; give a number and K, M, G or T, as in 512M"},
                      BadCase{"99999999999999999999M", "'99999999999999999999M': far too large"},
                      BadCase{"17592186044416M", "'17592186044416M': far too large"}));

TEST(ParseSizeText, MessagesShareTheirAdvice) {
  EXPECT_NE(parse_size("lots").error().message.find(kNotASize), std::string::npos);
}

TEST(ParseCount, TakesWholeNumbersInRange) {
  EXPECT_EQ(parse_count("4", 1, 8).value(), 4u);
  EXPECT_EQ(parse_count("0", 1, 8).error().message, "'0': must be from 1 to 8");
  EXPECT_EQ(parse_count("9", 1, 8).error().message, "'9': must be from 1 to 8");
  EXPECT_EQ(parse_count("two", 1, 8).error().message, "'two': not a whole number");
  EXPECT_EQ(parse_count("-1", 1, 8).error().message, "'-1': not a whole number");
  EXPECT_EQ(parse_count("", 1, 8).error().message, "'': not a whole number");
}

}  // namespace
}  // namespace vellum::cli
