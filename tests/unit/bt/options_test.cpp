#include "cpu/bt/options.hpp"

#include <gtest/gtest.h>

namespace vellum::bt {
namespace {

TEST(BtOptions, NamedOnesChange) {
  Options o;
  ASSERT_TRUE(parse_options("unit=8,chain=off,returns=off,threshold=0,cache=16M,perfmap=on", o));
  EXPECT_EQ(o.unit, 8u);
  EXPECT_FALSE(o.chain);
  EXPECT_FALSE(o.returns);
  EXPECT_EQ(o.threshold, 0u);
  EXPECT_EQ(o.cache_bytes, 16u << 20);
  EXPECT_TRUE(o.perf_map);
}

TEST(BtOptions, BadOnesAreNamed) {
  Options o;
  for (const char* bad :
       {"unit=0", "unit=33", "chain=maybe", "cache=", "speed=11", "chain", "threshold=x", "perfmap=1"})
    EXPECT_FALSE(parse_options(bad, o)) << bad;
}

}  // namespace
}  // namespace vellum::bt
