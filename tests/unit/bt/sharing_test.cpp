// vCPUs that share one cache of translations.
#include <sys/resource.h>

#include <fstream>
#include <optional>
#include <thread>

#include "two_pages_guest.hpp"

namespace vellum::bt {
namespace {

const Options kOptions{.cache_bytes = 1 << 20, .threshold = 0, .count = Options::Count::kOff};

// Two vCPUs of one guest; what LongGuest has is not used.
struct BtSharing : TwoPagesGuest {
  static constexpr u64 kLoops = 500;
  static constexpr u64 kOther = 0x30000;  // the second one's tables

  struct Cpu {
    Cpu(BtSharing& guest, unsigned index, u64 pml4, std::shared_ptr<TranslationCache> cache,
        const Options& options = kOptions)
        : engine(index, guest.space_, board, guest.clock_, guest.model_, hazards, options, std::move(cache)),
          state(guest.state_) {
      board.hazards = &hazards;
      state.cr3 = pml4;
      state.gpr[x86::kRsp] = kStack + index * 0x1000;
    }
    Exit run() {
      engine.push(StateMask::kAll, state);
      return resume();
    }
    Exit resume() {
      Exit e = engine.run(Budget{});
      engine.pull(StateMask::kAll, state);
      return e;
    }
    // Once more. Not by push(), which flushes what is known of mappings.
    void run_again(u64 rounds) {
      VcpuState& s = engine.vcpu().state;
      s.activity = Activity::kRunning;
      s.rip = kCode;
      s.gpr[x86::kRcx] = rounds;
      resume();
    }
    u64 count(std::string_view name) const { return count_of(engine, name); }

    SilentBoard board;
    Hazards hazards;
    Translator engine;
    VcpuState state;
  };

  BtSharing() {
    map(kOther, kData + 0x1000);
    jump(kCode, kCode, kFar);
    for (Cpu* cpu : {&first, &second}) cpu->state.gpr[x86::kRcx] = kLoops;  // not enough to be hot
  }

  // The first counts in RAX, the second in RBX.
  void expect_each_on_its_own_page() {
    first.run();
    second.run();
    first.run_again(100);
    second.run_again(100);
    EXPECT_EQ(first.state.gpr[x86::kRax], kLoops + 100);
    EXPECT_EQ(first.state.gpr[x86::kRbx], 0u);
    EXPECT_EQ(second.state.gpr[x86::kRax], 0u);
    EXPECT_EQ(second.state.gpr[x86::kRbx], kLoops + 100);
  }

  std::shared_ptr<TranslationCache> cache = std::make_shared<TranslationCache>(kOptions, true, false);
  Cpu first{*this, 0, kPml4, cache}, second{*this, 1, kOther, cache};
};

TEST_F(BtSharing, OneTranslatesForBoth) {
  second.state.cr3 = kPml4;
  first.run();
  second.run();
  EXPECT_EQ(first.state.gpr[x86::kRax], kLoops);
  EXPECT_EQ(second.state.gpr[x86::kRax], kLoops);
  EXPECT_GE(first.count("units translated"), 3u);
  EXPECT_EQ(second.count("units translated"), 0u);
  EXPECT_GE(second.count("units taken from other vCPUs"), 3u);
}

TEST_F(BtSharing, EachGoesToItsOwnPage) {
  expect_each_on_its_own_page();
}

TEST_F(BtSharing, EachGoesToItsOwnSecondPageOfAnInstruction) {
  jump(kCode, kCode, kCrossing);
  cross(kBack);
  map(kOther, kData);
  map_second(kOther, kCountsRbx);
  expect_each_on_its_own_page();
}

TEST_F(BtSharing, AJumpThatLeadsElsewhereForTheOtherIsNotTakenByMistake) {
  first.run();
  second.run();
  const u64 entries = first.count("entries");
  first.run_again(100);
  EXPECT_LT(first.count("entries"), entries + 20) << "it is still linked for the first one";
}

TEST_F(BtSharing, ChangedCodeIsChangedForBothInEitherOrder) {
  second.state.cr3 = kPml4;
  first.run();
  second.run();
  code({0x48, 0xff, 0xc3}, kData);
  first.run_again(10);
  second.run_again(20);
  code({0x48, 0xff, 0xc0}, kData);
  second.run_again(3);
  first.run_again(4);
  EXPECT_EQ(first.state.gpr[x86::kRax], kLoops + 4);
  EXPECT_EQ(first.state.gpr[x86::kRbx], 10u);
  EXPECT_EQ(second.state.gpr[x86::kRax], kLoops + 3);
  EXPECT_EQ(second.state.gpr[x86::kRbx], 20u);
}

TEST_F(BtSharing, WhatOneHasMadeOfNewCodeIsTakenByTheOther) {
  second.state.cr3 = kPml4;
  first.run();
  second.run();
  code({0x48, 0xff, 0xc3}, kData);
  first.run_again(10);
  const u64 translated = second.count("units translated");
  second.run_again(20);
  EXPECT_EQ(second.count("units translated"), translated);
}

TEST_F(BtSharing, EmptyingTheCacheLosesNothing) {
  first.run();
  second.run();
  {
    const std::lock_guard lock(cache->mutex());
    cache->flush();
  }
  for (Cpu* cpu : {&first, &second}) {
    cpu->run_again(50);
  }
  EXPECT_EQ(first.state.gpr[x86::kRax], kLoops + 50);
  EXPECT_EQ(second.state.gpr[x86::kRbx], kLoops + 50);
  EXPECT_EQ(first.count("cache flushes"), 1u);
}

// The new cache's links have the old ones' numbers, and lead where another vCPU has found their targets.
TEST_F(BtSharing, AVcpuForgetsWhichLinksOfAnEmptiedCacheItMayTake) {
  first.run();
  {
    const std::lock_guard lock(cache->mutex());
    cache->flush();
  }
  second.run();
  first.run_again(100);
  EXPECT_EQ(first.state.gpr[x86::kRax], kLoops + 100);
  EXPECT_EQ(first.state.gpr[x86::kRbx], 0u);
}

// Translated code is left before a jump that could be linked, as the budget ends there.
TEST_F(BtSharing, AJumpThatWasToBeLinkedIsForgottenWithItsCache) {
  const Options counted{.cache_bytes = 1 << 20, .threshold = 0, .count = Options::Count::kOn};
  const auto own = std::make_shared<TranslationCache>(counted, true, false);
  Cpu third{*this, 2, kPml4, own, counted};
  third.state.rip = kFar;
  third.state.gpr[x86::kRcx] = 5;
  third.engine.push(StateMask::kAll, third.state);
  third.engine.run(Budget{4});
  {
    const std::lock_guard lock(own->mutex());
    own->flush();
  }
  third.resume();
  EXPECT_EQ(third.state.gpr[x86::kRax], 5u);
  EXPECT_EQ(third.state.activity, Activity::kHalted);
}

TEST_F(BtSharing, NobodyWhoRestsKeepsOldTranslations) {
  first.run();
  second.run();
  const std::weak_ptr<Era> old = cache->era();
  {
    const std::lock_guard lock(cache->mutex());
    cache->flush();
  }
  EXPECT_TRUE(old.expired());
}

// While it lives the host gives a gigabyte of address space, too little for flat tables.
class ScarceAddressSpace {
 public:
  ScarceAddressSpace() {
    EXPECT_EQ(::getrlimit(RLIMIT_AS, &before_), 0);
    u64 pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const rlimit scarce{pages * kPageSize + (u64{1} << 30), before_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_AS, &scarce), 0);
  }
  ~ScarceAddressSpace() { EXPECT_EQ(::setrlimit(RLIMIT_AS, &before_), 0); }
  ScarceAddressSpace(const ScarceAddressSpace&) = delete;
  ScarceAddressSpace& operator=(const ScarceAddressSpace&) = delete;

 private:
  rlimit before_{};
};

// Hot code of others would find its accesses through a table that this one does not have.
TEST_F(BtSharing, AVcpuWithoutRoomForFlatTablesTranslatesForItself) {
  if (!has_flat_tables(first.engine)) GTEST_SKIP() << "nor has any other here";
  auto scarce = std::make_optional<ScarceAddressSpace>();
  Cpu third{*this, 2, kPml4, cache};
  scarce.reset();
  third.state.gpr[x86::kRcx] = first.state.gpr[x86::kRcx] = 10'000;
  first.run();
  third.run();
  EXPECT_GT(first.count("hot units translated"), 0u);
  EXPECT_EQ(third.state.gpr[x86::kRax], 10'000u);
  EXPECT_GE(third.count("units translated"), 3u);
  EXPECT_EQ(third.count("hot units translated"), 0u);
}

TEST_F(BtSharing, WhereNobodyHasRoomForFlatTablesAllShare) {
  const auto all = std::make_shared<TranslationCache>(kOptions, true, false);
  auto scarce = std::make_optional<ScarceAddressSpace>();
  Cpu one{*this, 0, kPml4, all};
  scarce.reset();
  Cpu two{*this, 1, kPml4, all};
  one.state.gpr[x86::kRcx] = two.state.gpr[x86::kRcx] = 10'000;
  one.run();
  two.run();
  EXPECT_EQ(two.state.gpr[x86::kRax], 10'000u);
  EXPECT_EQ(two.count("units translated"), 0u);
  EXPECT_GE(two.count("units taken from other vCPUs"), 3u);
  EXPECT_EQ(one.count("hot units translated") + two.count("hot units translated"), 0u);
}

// Threads, with the cache emptied all the time, code that is changed, and links that lead to two pages.
TEST_F(BtSharing, ThreadsMayDoAllOfItAtOnce) {
  constexpr u64 kRounds = 2000, kMany = 2000;
  std::atomic<bool> done{false};
  std::thread disturber([&] {
    for (u64 n = 0; !done; ++n) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      if (n % 4 == 0) {
        const std::lock_guard lock(cache->mutex());
        cache->flush();
      }
      ram_->note_store(GuestPhys(n % 2 == 0 ? kCode : kData + n % 3 * 0x800), 4);
    }
  });
  const auto work = [](Cpu& cpu) {
    cpu.state.gpr[x86::kRcx] = kMany;
    cpu.run();
    for (u64 n = 1; n < kRounds; ++n) {
      cpu.run_again(kMany);
    }
  };
  std::thread one([&] { work(first); }), two([&] { work(second); });
  one.join();
  two.join();
  done = true;
  disturber.join();
  EXPECT_EQ(first.state.gpr[x86::kRax], kRounds * kMany);
  EXPECT_EQ(first.state.gpr[x86::kRbx], 0u);
  EXPECT_EQ(second.state.gpr[x86::kRbx], kRounds * kMany);
  EXPECT_EQ(second.state.gpr[x86::kRax], 0u);
}

TEST(FaultTable, FindsTheRangeThatAnOffsetIsIn) {
  FaultTable table(1 << 20);
  const Site a, b;
  table.add(10, 14, a);
  table.add(14, 20, b);
  table.add(30, 31, a);
  EXPECT_EQ(table.find(9), nullptr);
  EXPECT_EQ(table.find(10), &a);
  EXPECT_EQ(table.find(13), &a);
  EXPECT_EQ(table.find(14), &b);
  EXPECT_EQ(table.find(20), nullptr);
  EXPECT_EQ(table.find(30), &a);
  EXPECT_EQ(table.find(31), nullptr);
}

}  // namespace
}  // namespace vellum::bt
