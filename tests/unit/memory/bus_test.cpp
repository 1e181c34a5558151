#include "memory/bus.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace vellum {
namespace {

struct Device final : BusDevice {
  u64 read(u64 offset, unsigned size) override {
    reads.push_back({offset, size});
    return value;
  }
  void write(u64 offset, unsigned size, u64 written) override { writes.push_back({offset, size, written}); }
  using Read = std::pair<u64, unsigned>;
  using Write = std::tuple<u64, unsigned, u64>;
  u64 value = 0;
  std::vector<Read> reads;
  std::vector<Write> writes;
};

struct BusTest : testing::Test {
  u64 counted(std::string_view name) const {
    std::vector<StatRow> rows;
    bus.stats(rows);
    const auto row = std::find_if(rows.begin(), rows.end(), [&](const StatRow& r) { return r.name == name; });
    return row == rows.end() ? 0 : row->count;
  }
  Bus bus{"ports"};
  Device a, b;
};

TEST_F(BusTest, DeviceSeesOffsetsNotAddresses) {
  ASSERT_TRUE(bus.add(0x3f8, 8, a, "uart"));
  a.value = 0x60;
  EXPECT_EQ(bus.read(0x3fd, 1), 0x60u);
  bus.write(0x3f8, 1, 'x');
  EXPECT_EQ(a.reads, (std::vector<Device::Read>{{5, 1}}));
  EXPECT_EQ(a.writes, (std::vector<Device::Write>{{0, 1, 'x'}}));
}

TEST_F(BusTest, ValuesAreCutToTheAccess) {
  ASSERT_TRUE(bus.add(0, 16, a, "a"));
  a.value = ~u64{0};
  EXPECT_EQ(bus.read(0, 1), 0xffu);
  EXPECT_EQ(bus.read(0, 2), 0xffffu);
  EXPECT_EQ(bus.read(0, 4), 0xffffffffu);
  EXPECT_EQ(bus.read(0, 8), ~u64{0});
  bus.write(0, 2, 0x12345678);
  EXPECT_EQ(a.writes, (std::vector<Device::Write>{{0, 2, 0x5678}}));
}

TEST_F(BusTest, NothingAnswersWithOnes) {
  ASSERT_TRUE(bus.add(0x10, 4, a, "a"));
  EXPECT_EQ(bus.read(0x14, 4), 0xffffffffu);
  EXPECT_EQ(bus.read(0x0f, 1), 0xffu);
  EXPECT_EQ(bus.read(0, 8), ~u64{0});
  bus.write(0x20, 4, 1);
  EXPECT_TRUE(a.reads.empty());
  EXPECT_TRUE(a.writes.empty());
  EXPECT_EQ(counted("unclaimed"), 4u);
}

TEST_F(BusTest, StraddlingAccessesAreSplitIntoBytes) {
  ASSERT_TRUE(bus.add(0x10, 2, a, "a"));
  ASSERT_TRUE(bus.add(0x12, 2, b, "b"));
  a.value = 0x11;
  b.value = 0x22;
  EXPECT_EQ(bus.read(0x10, 4), 0x22221111u);
  EXPECT_EQ(bus.read(0x13, 2), 0xff22u);
  EXPECT_EQ(bus.read(0x0f, 2), 0x11ffu);
  bus.write(0x11, 2, 0xbbaa);
  EXPECT_EQ(a.writes, (std::vector<Device::Write>{{1, 1, 0xaa}}));
  EXPECT_EQ(b.writes, (std::vector<Device::Write>{{0, 1, 0xbb}}));
}

TEST_F(BusTest, OverlapsAreRefusedWithBothNames) {
  ASSERT_TRUE(bus.add(0x100, 0x10, a, "first"));
  for (const auto& [start, size] :
       {std::pair<u64, u64>{0x100, 1}, {0xff, 2}, {0x10f, 1}, {0xf0, 0x100}, {0x104, 4}}) {
    const auto result = bus.add(start, size, b, "second");
    ASSERT_FALSE(result) << start;
    EXPECT_EQ(result.error().code, ErrorCode::kInvalidArgument);
    EXPECT_NE(result.error().message.find("'first'"), std::string::npos);
    EXPECT_NE(result.error().message.find("'second'"), std::string::npos);
  }
  EXPECT_TRUE(bus.add(0xf0, 0x10, b, "below"));
  EXPECT_TRUE(bus.add(0x110, 0x10, b, "above"));
}

TEST_F(BusTest, CountsByDevice) {
  ASSERT_TRUE(bus.add(0, 8, a, "a"));
  ASSERT_TRUE(bus.add(0x100, 8, b, "b"));
  for (int i = 0; i < 3; ++i) bus.read(0, 4);
  bus.write(0x100, 4, 0);
  EXPECT_EQ(counted("a reads"), 3u);
  EXPECT_EQ(counted("a writes"), 0u);
  EXPECT_EQ(counted("b writes"), 1u);
}

}  // namespace
}  // namespace vellum
