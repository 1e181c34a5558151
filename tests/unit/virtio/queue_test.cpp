#include "devices/virtio/queue.hpp"

#include "driver.hpp"

namespace vellum {
namespace {

using test::Ring;
using virtio::Chain;
using virtio::Queue;
using virtio::QueueOptions;

constexpr u64 kRam = 1 << 20, kRing = 0x10000, kData = 0x80000;

// The parameter: packed.
class VirtQueue : public ::testing::TestWithParam<bool> {
 protected:
  Queue make(QueueOptions options = {}) {
    options.packed = GetParam();
    return Queue(dma, options, ring.state);
  }
  bool breaks(QueueOptions options = {}) {
    Queue queue = make(options);
    Chain chain;
    return !queue.pop(chain) && queue.broken() && !queue.pop(chain);
  }
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(kRam));
  DmaView dma{*ram};
  Ring ring{*ram, kRing, 8, GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Both, VirtQueue, ::testing::Bool(),
                         [](const auto& which) { return which.param ? "Packed" : "Split"; });

TEST_P(VirtQueue, GivesBuffersInOrder) {
  Queue queue = make();
  Chain chain;
  EXPECT_FALSE(queue.pop(chain));
  const u16 id = ring.add({{kData, 16}, {kData + 0x100, 4}, {kData + 0x200, 512, true}});
  ASSERT_TRUE(queue.pop(chain));
  EXPECT_EQ(chain.id, id);
  EXPECT_EQ(chain.readable_size(), 20u);
  EXPECT_EQ(chain.writable_size(), 512u);
  EXPECT_FALSE(queue.pop(chain));
  EXPECT_FALSE(queue.broken());
}

TEST_P(VirtQueue, CopiesAcrossBuffersAndNotesStoresToCode) {
  Queue queue = make();
  ring.put<u32>(kData, 0x44332211);
  ring.add({{kData, 2}, {kData + 2, 2}, {kData + 0x1000, 3, true}, {kData + 0x2000, 100, true}});
  Chain chain;
  ASSERT_TRUE(queue.pop(chain));
  std::array<u8, 3> bytes{};
  EXPECT_EQ(read_chain(chain, 1, bytes), 3u);
  EXPECT_EQ(bytes, (std::array<u8, 3>{0x22, 0x33, 0x44}));
  EXPECT_EQ(read_chain(chain, 2, bytes), 2u);
  const u32 generation = ram->track_code(GuestPhys(kData + 0x2000), 1);
  EXPECT_EQ(write_chain(dma, chain, 2, bytes), 3u);
  EXPECT_EQ(ring.get<u8>(kData + 0x1002), 0x33);
  EXPECT_EQ(ring.get<u8>(kData + 0x2000), 0x44);
  EXPECT_NE(ram->code_page(GuestPhys(kData + 0x2000)).generation.load(), generation);
}

TEST_P(VirtQueue, RunsRoundItsRingManyTimes) {
  Queue queue = make({.event_index = true});
  Chain chain;
  for (unsigned n = 0; n < 100; ++n) {
    ring.add({{kData, 4}, {kData + 8, 4, true}, {kData + 16, 4, true}});
    ASSERT_TRUE(queue.pop(chain)) << n;
    ASSERT_EQ(chain.writable_size(), 8u);
    queue.push(chain, n);
  }
  EXPECT_FALSE(queue.pop(chain));
}

TEST_P(VirtQueue, GoesOnFromItsSavedState) {
  Queue first = make();
  Chain chain;
  for (unsigned n = 0; n < 5; ++n) {
    ring.add({{kData, 4}, {kData + 8, 4, true}});
    ASSERT_TRUE(first.pop(chain));
    first.push(chain, 0);
  }
  const u16 id = ring.add({{kData, 4}});
  ring.state = first.state();
  Queue second = make();
  ASSERT_TRUE(second.pop(chain));
  EXPECT_EQ(chain.id, id);
}

TEST_P(VirtQueue, TakesIndirectTables) {
  const u64 table = kData + 0x4000;
  ring.descriptor(table, 0, {kData, 8}, 1, 1);
  ring.descriptor(table, 1, {kData + 8, 8, true}, 2, 0);
  ring.add({{table, 32}});
  ring.put<u16>(kRing + (GetParam() ? 14 : 12), GetParam() ? 0x84 : 4);
  EXPECT_TRUE(breaks());
  Queue queue = make({.indirect = true});
  Chain chain;
  ASSERT_TRUE(queue.pop(chain)) << queue.fault();
  EXPECT_EQ(chain.readable_size(), 8u);
  EXPECT_EQ(chain.writable_size(), 8u);
  EXPECT_EQ(chain.descriptors, 1);
}

TEST_P(VirtQueue, BadIndirectTablesBreakIt) {
  const u64 table = kData + 0x4000;
  const QueueOptions indirect{.indirect = true};
  const auto with = [&](u64 at, u32 length) {
    ring.descriptor(kRing, 0, {at, length}, GetParam() ? 0x84 : 4, 0);
    return breaks(indirect);
  };
  ring.add({{table, 32}});
  EXPECT_TRUE(with(table, 31));
  EXPECT_TRUE(with(table, 0));
  EXPECT_TRUE(with(kRam - 16, 32));
  ring.descriptor(table, 0, {kData, 8}, 4, 0);  // a table in a table
  EXPECT_TRUE(with(table, 16));
}

TEST_P(VirtQueue, BuffersOutsideOfRamBreakIt) {
  ring.add({{kRam - 8, 16}});
  EXPECT_TRUE(breaks());
}

TEST_P(VirtQueue, BuffersThatWrapBreakIt) {
  ring.add({{~u64{0} - 7, 16}});
  EXPECT_TRUE(breaks());
}

TEST_P(VirtQueue, ReadableBehindWritableBreaksIt) {
  ring.add({{kData, 8, true}, {kData, 8}});
  EXPECT_TRUE(breaks());
}

TEST_P(VirtQueue, AChainWithoutEndBreaksIt) {
  for (unsigned n = 0; n < 8; ++n)
    ring.descriptor(kRing, n, {kData, 8}, GetParam() ? 0x81 : 1,
                    GetParam() ? u16{0} : static_cast<u16>((n + 1) % 8));
  ring.put<u16>(ring.state.driver + 2, GetParam() ? 0 : 1);
  EXPECT_TRUE(breaks());
}

TEST_P(VirtQueue, AreasOutsideOfRamBreakIt) {
  ring.state.descriptors = kRam - 64;
  EXPECT_TRUE(make().broken());
  ring.state.descriptors = kRing;
  ring.state.device = kRam - 2;
  EXPECT_TRUE(make().broken());
}

TEST_P(VirtQueue, InterruptsUnlessTheDriverSaysNo) {
  Queue queue = make();
  ring.put<u16>(ring.state.driver + (GetParam() ? 2 : 0), 1);
  EXPECT_FALSE(queue.wants_interrupt());
  ring.put<u16>(ring.state.driver + (GetParam() ? 2 : 0), 0);
  EXPECT_TRUE(queue.wants_interrupt());
}

TEST_P(VirtQueue, InterruptsAtTheEventIndex) {
  Queue queue = make({.event_index = true});
  Chain chain;
  const auto one = [&] {
    ring.add({{kData, 4}});
    EXPECT_TRUE(queue.pop(chain));
    queue.push(chain, 0);
    return queue.wants_interrupt();
  };
  // After the third: index 2.
  ring.put<u16>(ring.state.driver + (GetParam() ? 0u : 4 + 2 * 8u), GetParam() ? 0x8002 : 2);
  ring.put<u16>(ring.state.driver + (GetParam() ? 2u : 0u), GetParam() ? 2 : 0);
  one();  // the first is not held back
  EXPECT_FALSE(one());
  EXPECT_TRUE(one());
  EXPECT_FALSE(one());
}

TEST_P(VirtQueue, EnablingNotificationsLooksOnceMore) {
  Queue queue = make({.event_index = true});
  queue.disable_notifications();
  EXPECT_FALSE(queue.enable_notifications());
  ring.add({{kData, 4}});
  EXPECT_TRUE(queue.enable_notifications());
}

TEST(SplitQueue, IndicesOutOfRangeBreakIt) {
  auto ram = std::move(*GuestRam::create(kRam));
  Ring ring(*ram, kRing, 8, false);
  Chain chain;
  ring.offer(8);
  Queue bad_head(DmaView(*ram), {}, ring.state);
  EXPECT_FALSE(bad_head.pop(chain));
  EXPECT_TRUE(bad_head.broken());
  ring.put<u16>(ring.state.driver + 2, 9);  // more than the ring has
  Queue bad_index(DmaView(*ram), {}, ring.state);
  EXPECT_FALSE(bad_index.pop(chain));
  EXPECT_TRUE(bad_index.broken());
  ring.state.size = 6;
  EXPECT_TRUE(Queue(DmaView(*ram), {}, ring.state).broken());
}

TEST(SplitQueue, UsedBuffersAreInTheRing) {
  auto ram = std::move(*GuestRam::create(kRam));
  Ring ring(*ram, kRing, 8, false);
  Queue queue(DmaView(*ram), {}, ring.state);
  Chain one, two;
  ring.add({{kData, 4, true}});
  const u16 second = ring.add({{kData, 4, true}});
  ASSERT_TRUE(queue.pop(one) && queue.pop(two));
  queue.push(two, 3);
  EXPECT_EQ(ring.used_index(), 1);
  EXPECT_EQ(ring.used_id(0), second);
  EXPECT_EQ(ring.used_length(0), 3u);
}

}  // namespace
}  // namespace vellum
