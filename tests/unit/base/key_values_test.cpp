#include "base/key_values.hpp"

#include <gtest/gtest.h>

#include <string>

#include "base/int.hpp"

namespace vellum {
namespace {

TEST(KeyValues, PairsComeInOrder) {
  std::string seen;
  const auto result =
      for_each_pair("a=1,b=,c=x=y", "a=1", [&](std::string_view key, std::string_view value) -> Result<> {
        seen += fmt::format("[{}|{}]", key, value);
        return {};
      });
  EXPECT_TRUE(result);
  EXPECT_EQ(seen, "[a|1][b|][c|x=y]");
}

TEST(KeyValues, TheFirstErrorEndsIt) {
  int calls = 0;
  const auto refuse = [&](std::string_view, std::string_view) -> Result<> {
    ++calls;
    return fail(ErrorCode::kInvalidArgument, "no");
  };
  EXPECT_EQ(for_each_pair("a=1,b=2", "a=1", refuse).error().message, "no");
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(for_each_pair("a", "a=1", refuse).error().message, "'a': expected key=value, as in a=1");
  EXPECT_EQ(calls, 1);
}

TEST(KeyValues, ANumberIsAllOfTheText) {
  u8 number = 0;
  EXPECT_TRUE(parse_number("255", number));
  EXPECT_EQ(number, 255);
  EXPECT_TRUE(parse_number("1f", number, 16));
  EXPECT_EQ(number, 0x1f);
  EXPECT_FALSE(parse_number("256", number));
  EXPECT_FALSE(parse_number("1 ", number));
  EXPECT_FALSE(parse_number("-1", number));
  EXPECT_FALSE(parse_number("", number));
}

TEST(KeyValues, OnAndOff) {
  EXPECT_EQ(on_off("ipv6", "on"), true);
  EXPECT_EQ(on_off("ipv6", "off"), false);
  EXPECT_EQ(on_off("ipv6", "yes").error().message, "ipv6=yes: expected on or off");
}

}  // namespace
}  // namespace vellum
