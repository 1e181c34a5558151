#include "io/escape_filter.hpp"

#include <gtest/gtest.h>

#include <string>

namespace vellum {
namespace {

struct Typist {
  EscapeFilter filter;
  std::vector<u8> out;
  bool type(std::string_view text, u64 at_ms) {
    const std::vector<u8> bytes(text.begin(), text.end());
    return filter.feed(bytes, at_ms, out);
  }
  std::string guest_got() const { return {out.begin(), out.end()}; }
};

TEST(EscapeFilter, OrdinaryBytesPass) {
  Typist typist;
  EXPECT_FALSE(typist.type("ls\r\x03", 0));
  EXPECT_EQ(typist.guest_got(), "ls\r\x03");
  EXPECT_FALSE(typist.filter.deadline_ms());
}

TEST(EscapeFilter, TwiceWithinTheWindowLeaves) {
  Typist typist;
  EXPECT_FALSE(typist.type("\x1d", 100));
  EXPECT_EQ(typist.filter.deadline_ms(), 1100u);
  EXPECT_TRUE(typist.type("\x1d", 1099));
  EXPECT_EQ(typist.guest_got(), "");
}

TEST(EscapeFilter, TwiceInOneReadLeavesAndDropsTheRest) {
  Typist typist;
  EXPECT_TRUE(typist.type("a\x1d\x1d\x62", 0));
  EXPECT_EQ(typist.guest_got(), "a");
}

TEST(EscapeFilter, AnotherKeyPassesTheHeldOneOn) {
  Typist typist;
  EXPECT_FALSE(typist.type("\x1d", 0));
  EXPECT_EQ(typist.guest_got(), "");
  EXPECT_FALSE(typist.type("x", 10));
  EXPECT_EQ(typist.guest_got(), "\x1dx");
  EXPECT_FALSE(typist.type("\x1d", 20));  // a new first one
  EXPECT_EQ(typist.guest_got(), "\x1dx");
}

TEST(EscapeFilter, AfterTheWindowTheHeldOnePassesAndTheNextIsAFirst) {
  Typist typist;
  EXPECT_FALSE(typist.type("\x1d", 0));
  EXPECT_FALSE(typist.type("\x1d", 1000));
  EXPECT_EQ(typist.guest_got(), "\x1d");
  EXPECT_TRUE(typist.type("\x1d", 1500));
}

TEST(EscapeFilter, ExpiresOnlyWhenItsTimeIsOver) {
  Typist typist;
  typist.type("\x1d", 0);
  typist.filter.expire(999, typist.out);
  EXPECT_EQ(typist.guest_got(), "");
  typist.filter.expire(1000, typist.out);
  EXPECT_EQ(typist.guest_got(), "\x1d");
  typist.filter.expire(2000, typist.out);
  EXPECT_EQ(typist.guest_got(), "\x1d");
}

}  // namespace
}  // namespace vellum
