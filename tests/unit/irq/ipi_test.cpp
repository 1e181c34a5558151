// Interprocessor interrupts and MSIs: delivery modes, destinations, shorthands (SDM vol. 3A §11.6, §11.11).
#include <atomic>
#include <thread>

#include "fixture.hpp"

namespace vellum::test {
namespace {

class IpiTest : public ApicTest {
 protected:
  static constexpr u32 kLogical = 0x800, kAssert = 0x4000;
  static constexpr u32 kSelf = 1u << 18, kAll = 2u << 18, kOthers = 3u << 18;
  static constexpr u32 kLowest = 0x100, kSmi = 0x200, kNmi = 0x400, kInit = 0x500, kStartup = 0x600;

  IpiTest() {
    for (u32 id = 1; id < 4; ++id) add_processor(id);
    for (std::size_t i = 0; i < 4; ++i) enable(i);
  }
  void send(u32 destination, u32 low, std::size_t from = 0) {
    write(reg::kIcrHigh, destination << 24, from);
    write(reg::kIcrLow, low, from);
  }
  /// Which processors have `vector` requested, one bit each.
  unsigned requested(u8 vector) {
    unsigned set = 0;
    for (std::size_t i = 0; i < apics.size(); ++i) set |= irr(vector, i) ? 1u << i : 0;
    return set;
  }
};

TEST_F(IpiTest, PhysicalDestinationNamesOne) {
  send(2, kAssert | 0x50);

  EXPECT_EQ(requested(0x50), 0b0100u);
  EXPECT_EQ(read(reg::kIcrHigh), 2u << 24);
  EXPECT_EQ(read(reg::kIcrLow), kAssert | 0x50) << "the delivery status is never busy";
}

TEST_F(IpiTest, PhysicalAllOnesIsABroadcast) {
  send(0xff, kAssert | 0x50);

  EXPECT_EQ(requested(0x50), 0b1111u);
}

TEST_F(IpiTest, NobodyThereIsNoError) {
  send(9, kAssert | 0x50);

  EXPECT_EQ(requested(0x50), 0u);
}

TEST_F(IpiTest, Shorthands) {
  send(0, kAssert | kSelf | 0x51, 1);
  send(0, kAssert | kAll | 0x52, 1);
  send(0, kAssert | kOthers | 0x53, 1);

  EXPECT_EQ(requested(0x51), 0b0010u);
  EXPECT_EQ(requested(0x52), 0b1111u);
  EXPECT_EQ(requested(0x53), 0b1101u);
}

TEST_F(IpiTest, FlatLogicalDestinations) {
  for (std::size_t i = 0; i < 4; ++i) write(reg::kLdr, 0x0100'0000u << i, i);

  send(0x0a, kAssert | kLogical | 0x50);

  EXPECT_EQ(requested(0x50), 0b1010u);
}

TEST_F(IpiTest, ClusterLogicalDestinations) {
  const u32 ldr[] = {0x11, 0x12, 0x21, 0x22};
  for (std::size_t i = 0; i < 4; ++i) {
    write(reg::kDfr, 0x0fff'ffff, i);
    write(reg::kLdr, ldr[i] << 24, i);
  }

  send(0x13, kAssert | kLogical | 0x50);
  send(0x22, kAssert | kLogical | 0x51);
  send(0xff, kAssert | kLogical | 0x52);

  EXPECT_EQ(requested(0x50), 0b0011u);
  EXPECT_EQ(requested(0x51), 0b1000u);
  EXPECT_EQ(requested(0x52), 0b1111u);
}

TEST_F(IpiTest, LowestPriorityTakesTheIdlest) {
  for (std::size_t i = 0; i < 4; ++i) {
    write(reg::kLdr, 0x0100'0000u << i, i);
    write(reg::kTpr, i == 2 ? 0x10 : 0x30, i);
  }

  send(0x0f, kAssert | kLogical | kLowest | 0x50);

  EXPECT_EQ(requested(0x50), 0b0100u);
}

TEST_F(IpiTest, LowestPriorityAmongEqualsGoesToExactlyOne) {
  for (std::size_t i = 0; i < 4; ++i) write(reg::kLdr, 0x0100'0000u << i, i);

  unsigned all = 0;
  for (u32 vector = 0x50; vector < 0x54; ++vector) {
    send(0x0f, kAssert | kLogical | kLowest | vector);
    EXPECT_EQ(std::popcount(requested(static_cast<u8>(vector))), 1);
    all |= requested(static_cast<u8>(vector));
  }

  EXPECT_EQ(all, 0b1111u) << "vectors spread over the processors";
}

TEST_F(IpiTest, LowestPrioritySkipsDisabledProcessors) {
  for (std::size_t i = 0; i < 4; ++i) write(reg::kLdr, 0x0100'0000u << i, i);
  write(reg::kSvr, 0xff, 1);

  send(0x02, kAssert | kLogical | kLowest | 0x50);

  EXPECT_EQ(requested(0x50), 0u);
}

TEST_F(IpiTest, NmiInitAndStartup) {
  send(1, kAssert | kNmi);
  send(2, kAssert | 0x8000 | kInit);
  send(2, 0x8000 | kInit);  // level de-assert
  send(2, kAssert | kStartup | 0x9f);

  EXPECT_EQ(core(1).nmis, 1);
  EXPECT_EQ(core(2).inits, 1);
  EXPECT_EQ(core(2).sipis, std::vector<u8>{0x9f});
}

TEST_F(IpiTest, InitToAllOthersSparesTheSender) {
  send(0, kAssert | kOthers | kInit);

  EXPECT_EQ(core(0).inits, 0);
  EXPECT_EQ(core(1).inits, 1);
  EXPECT_EQ(core(3).inits, 1);
}

TEST_F(IpiTest, OnlyFixedGoesToSelf) {
  send(0, kAssert | kSelf | kNmi);
  send(0, kAssert | kAll | kInit);
  send(0, kAssert | kSelf | kSmi);

  EXPECT_EQ(core(0).nmis, 0);
  EXPECT_EQ(core(0).inits, 0);
  EXPECT_EQ(core(1).inits, 0);
}

TEST_F(IpiTest, IpisAreEdgesWhateverTheTriggerBitSays) {
  send(1, 0x8000 | kAssert | 0x50);

  EXPECT_TRUE(irr(0x50, 1));
  EXPECT_FALSE(tmr(0x50, 1));
}

TEST_F(IpiTest, WritingTheHighHalfSendsNothing) {
  send(1, kAssert | 0x50);
  ASSERT_EQ(apic(1).acknowledge(), 0x50);

  write(reg::kIcrHigh, 2u << 24);

  EXPECT_EQ(requested(0x50), 0u);
}

// ---- MSI ----

TEST_F(IpiTest, MsiPhysical) {
  bus.deliver({.address = 0xfee0'2000, .data = 0x4061});

  EXPECT_EQ(requested(0x61), 0b0100u);
}

// Linux in flat logical mode sets the mode without the hint (SDM: ignored then; chipsets: not).
TEST_F(IpiTest, MsiDestinationModeCountsWithAndWithoutTheRedirectionHint) {
  for (std::size_t i = 0; i < 4; ++i) write(reg::kLdr, 0x0100'0000u << i, i);

  bus.deliver({.address = 0xfee0'2004, .data = 0x61});
  bus.deliver({.address = 0xfee0'200c, .data = 0x62});

  EXPECT_EQ(requested(0x61), 0b0010u);
  EXPECT_EQ(requested(0x62), 0b0010u);
}

TEST_F(IpiTest, MsiDeliveryModes) {
  bus.deliver({.address = 0xfee0'1000, .data = 0x400});
  bus.deliver({.address = 0xfee0'3000, .data = 0xc066});  // level, asserted
  bus.deliver({.address = 0xfee0'3000, .data = 0x8067});  // level, de-asserted

  EXPECT_EQ(core(1).nmis, 1);
  EXPECT_TRUE(tmr(0x66, 3));
  EXPECT_EQ(requested(0x67), 0u);
}

TEST_F(IpiTest, AnMsiOutsideTheApicRangeIsNone) {
  bus.deliver({.address = 0xfed0'1000, .data = 0x61});
  bus.deliver({.address = u64{1} << 32 | 0xfee0'1000, .data = 0x61});

  EXPECT_EQ(requested(0x61), 0u);
}

TEST_F(IpiTest, AnExtIntMessageAsksThe8259Once) {
  bus.post({.destination = 1, .mode = DeliveryMode::kExtInt});

  EXPECT_TRUE(core(1).pending);
  EXPECT_EQ(apic(1).acknowledge(), 0x27);
  EXPECT_EQ(apic(1).acknowledge(), -1);
  EXPECT_FALSE(core(1).pending);
}

// Two processors that send to each other and to all at the same time take no lock while they hold another:
// this ends.
TEST_F(IpiTest, ManySendersDoNotDeadlock) {
  constexpr int kRounds = 20'000;
  std::vector<std::thread> threads;
  std::atomic<int> taken{0};
  for (std::size_t i = 0; i < 4; ++i) {
    threads.emplace_back([this, i, &taken] {
      for (int n = 0; n < kRounds; ++n) {
        send(static_cast<u32>((i + 1) % 4), kAssert | 0x50, i);
        send(0, kAssert | (n % 2 == 0 ? kOthers : kAll) | 0x60, i);
        while (apic(i).acknowledge() >= 0) {
          ++taken;
          write(reg::kEoi, 0, i);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < 4; ++i)
    while (apic(i).acknowledge() >= 0) write(reg::kEoi, 0, i);

  EXPECT_GT(taken.load(), 0);
  EXPECT_EQ(requested(0x50) | requested(0x60), 0u);
}

}  // namespace
}  // namespace vellum::test
