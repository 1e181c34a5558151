#include "cli/balloon_option.hpp"

#include <gtest/gtest.h>

namespace vellum::cli {
namespace {

std::string error_of(std::string_view text) {
  const auto parsed = parse_balloon(text);
  return parsed ? "none" : parsed.error().message;
}

TEST(BalloonOption, ASizeAlone) {
  const auto balloon = parse_balloon("256M");
  ASSERT_TRUE(balloon);
  EXPECT_EQ(balloon->size, u64{256} << 20);
  EXPECT_FALSE(balloon->deflate_on_oom);
  EXPECT_TRUE(balloon->free_page_reporting);
  EXPECT_EQ(balloon->stats_seconds, 0u);
  EXPECT_EQ(parse_balloon("0")->size, 0u);
}

TEST(BalloonOption, AllKeys) {
  const auto balloon = parse_balloon("1G,deflate-on-oom=on,free-page-reporting=off,stats=10");
  ASSERT_TRUE(balloon);
  EXPECT_EQ(balloon->size, u64{1} << 30);
  EXPECT_TRUE(balloon->deflate_on_oom);
  EXPECT_FALSE(balloon->free_page_reporting);
  EXPECT_EQ(balloon->stats_seconds, 10u);
}

TEST(BalloonOption, ErrorsNameTheWord) {
  EXPECT_NE(error_of("").find("begins with a size"), std::string::npos);
  EXPECT_NE(error_of("stats=1").find("begins with a size"), std::string::npos);
  EXPECT_NE(error_of("1Q").find("'1Q'"), std::string::npos);
  EXPECT_NE(error_of("1M,oom=on").find("'oom': unknown"), std::string::npos);
  EXPECT_NE(error_of("1M,deflate-on-oom=yes").find("expected on or off"), std::string::npos);
  EXPECT_NE(error_of("1M,stats=x").find("'x'"), std::string::npos);
}

}  // namespace
}  // namespace vellum::cli
