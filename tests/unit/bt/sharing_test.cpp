// vCPUs that share one cache of translations.
#include <sys/resource.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "long_guest.hpp"

namespace vellum::bt {
namespace {

const Options kOptions{.cache_bytes = 1 << 20, .threshold = 0, .count = Options::Count::kOff};

// Two vCPUs of one guest; what LongGuest has is not used.
struct BtSharing : LongGuest {
  static constexpr u64 kFar = 0x200000;  // of the first kData, of the second kData + 0x1000
  static constexpr u64 kBack = kCode + 0x40;
  static constexpr u64 kLoops = 500;
  static constexpr u64 kOther = 0x30000;  // the second one's tables

  struct Cpu {
    Cpu(BtSharing& guest, unsigned index, u64 pml4, std::shared_ptr<TranslationCache> cache)
        : engine(index, guest.space_, board, guest.clock_, guest.model_, hazards, kOptions, std::move(cache)),
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
    // Not by push(), which flushes what is known of mappings.
    void restart(u64 count) {
      VcpuState& s = engine.vcpu().state;
      s.activity = Activity::kRunning;
      s.rip = kCode;
      s.gpr[x86::kRcx] = count;
    }
    u64 count(std::string_view name) const {
      std::vector<StatRow> rows;
      engine.stats(rows);
      for (const StatRow& row : rows)
        if (row.name == name) return row.count;
      return 0;
    }

    SilentBoard board;
    Hazards hazards;
    Translator engine;
    VcpuState state;
  };

  BtSharing() {
    map(kPml4, kData);
    map(kOther, kData + 0x1000);
    code({0x48, 0xff, 0xc0}, kData);           // INC RAX
    code({0x48, 0xff, 0xc3}, kData + 0x1000);  // INC RBX
    for (const u64 page : {kData, kData + 0x1000}) jump(page + 3, kFar + 3, kBack);
    jump(kCode, kCode, kFar);
    code({0xff, 0xc9, 0x75, 0xbc, 0xf4}, kBack);                            // DEC ECX; JNZ kCode; HLT
    for (Cpu* cpu : {&first, &second}) cpu->state.gpr[x86::kRcx] = kLoops;  // not enough to be hot
  }
  void map(u64 pml4, u64 physical) {
    const u64 pt = pml4 == kPml4 ? 0x5000 : pml4 + 0x3000;
    put64(pml4, (pml4 + 0x1000) | 3);
    put64(pml4 + 0x1000, (pml4 + 0x2000) | 3);
    put64(pml4 + 0x2000, 0x83);
    put64(pml4 + 0x2008, pt | 3);
    put64(pt, physical | 3);
  }
  void jump(u64 at, u64 linear, u64 target) {
    code({0xe9}, at);
    const u32 distance = static_cast<u32>(target - (linear + 5));
    std::memcpy(ram_->host(GuestPhys(at + 1)), &distance, 4);
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
  first.run();
  second.run();
  first.restart(100);
  first.resume();
  second.restart(100);
  second.resume();
  EXPECT_EQ(first.state.gpr[x86::kRax], kLoops + 100);
  EXPECT_EQ(first.state.gpr[x86::kRbx], 0u);
  EXPECT_EQ(second.state.gpr[x86::kRax], 0u);
  EXPECT_EQ(second.state.gpr[x86::kRbx], kLoops + 100);
}

TEST_F(BtSharing, AJumpThatLeadsElsewhereForTheOtherIsNotTakenByMistake) {
  first.run();
  second.run();
  const u64 entries = first.count("entries");
  first.restart(100);
  first.resume();
  EXPECT_LT(first.count("entries"), entries + 20) << "it is still linked for the first one";
}

TEST_F(BtSharing, ChangedCodeIsChangedForBothInEitherOrder) {
  second.state.cr3 = kPml4;
  first.run();
  second.run();
  code({0x48, 0xff, 0xc3}, kData);
  first.restart(10);
  first.resume();
  second.restart(20);
  second.resume();
  code({0x48, 0xff, 0xc0}, kData);
  second.restart(3);
  second.resume();
  first.restart(4);
  first.resume();
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
  first.restart(10);
  first.resume();
  const u64 translated = second.count("units translated");
  second.restart(20);
  second.resume();
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
    cpu->restart(50);
    cpu->resume();
  }
  EXPECT_EQ(first.state.gpr[x86::kRax], kLoops + 50);
  EXPECT_EQ(second.state.gpr[x86::kRbx], kLoops + 50);
  EXPECT_EQ(first.count("cache flushes"), 1u);
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

// Hot code of others would find its accesses through a table that this one does not have.
TEST_F(BtSharing, AVcpuWithoutRoomForFlatTablesTranslatesForItself) {
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  u64 pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlimit scarce{pages * kPageSize + (u64{1} << 30), before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &scarce), 0);
  Cpu third{*this, 2, kPml4, cache};
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &before), 0);
  third.state.gpr[x86::kRcx] = first.state.gpr[x86::kRcx] = 10'000;
  first.run();
  third.run();
  EXPECT_GT(first.count("hot units translated"), 0u);
  EXPECT_EQ(third.state.gpr[x86::kRax], 10'000u);
  EXPECT_GE(third.count("units translated"), 3u);
  EXPECT_EQ(third.count("hot units translated"), 0u);
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
      cpu.restart(kMany);
      cpu.resume();
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
