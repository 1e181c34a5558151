// Code tracking: which stores raise a page's generation, and that none is missed by another thread
// (docs/design/self-modifying-code.md).
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "memory/guest_access.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {
namespace {

std::unique_ptr<GuestRam> make(u64 pages) {
  auto ram = GuestRam::create(pages * kPageSize);
  return std::move(ram.value());
}

static_assert(code_chunks(0, 1) == 1);
static_assert(code_chunks(63, 1) == 1);
static_assert(code_chunks(63, 2) == 3);
static_assert(code_chunks(64, 64) == 2);
static_assert(code_chunks(4095, 1) == u64{1} << 63);
static_assert(code_chunks(0, 4096) == ~u64{0});
static_assert(code_chunks(4032, 64) == u64{1} << 63);

TEST(CodeTracking, UntrackedPagesIgnoreStores) {
  const auto ram = make(4);
  EXPECT_FALSE(ram->note_store(GuestPhys(0), 4 * kPageSize));
  EXPECT_EQ(ram->code_page(GuestPhys(0)).generation.load(), 0u);
}

TEST(CodeTracking, EachStoreToATrackedChunkRaisesTheGeneration) {
  const auto ram = make(4);
  const u32 first = ram->track_code(GuestPhys(0x1040), 10);
  EXPECT_TRUE(ram->note_store(GuestPhys(0x107f), 1));
  const u32 second = ram->track_code(GuestPhys(0x1040), 10);
  EXPECT_TRUE(ram->note_store(GuestPhys(0x1040), 1));
  const u32 third = ram->track_code(GuestPhys(0x1040), 10);
  EXPECT_NE(first, second);
  EXPECT_NE(second, third);
}

TEST(CodeTracking, NeighbouringChunksAndPagesAreLeftAlone) {
  const auto ram = make(4);
  const u32 before = ram->track_code(GuestPhys(0x1040), 64);
  EXPECT_FALSE(ram->note_store(GuestPhys(0x1000), 64));
  EXPECT_FALSE(ram->note_store(GuestPhys(0x1080), 0x1000));
  EXPECT_FALSE(ram->note_store(GuestPhys(0x0040), 64));
  EXPECT_EQ(ram->track_code(GuestPhys(0x1040), 64), before);
}

TEST(CodeTracking, LongStoresReachEveryPageTheyTouch) {
  const auto ram = make(4);
  const u32 first = ram->track_code(GuestPhys(0x0fff), 1);
  const u32 last = ram->track_code(GuestPhys(0x3000), 1);
  EXPECT_TRUE(ram->note_store(GuestPhys(0x0fff), 0x2002));
  EXPECT_NE(ram->track_code(GuestPhys(0x0fff), 1), first);
  EXPECT_NE(ram->track_code(GuestPhys(0x3000), 1), last);
}

TEST(RamViews, AStoreToCodeForgetsThePagesCode) {
  const auto ram = make(4);
  if (ram->views() == nullptr) GTEST_SKIP() << "this process has no address space for views of RAM";
  ram->track_code(GuestPhys(0x1040), 1);
  ram->track_code(GuestPhys(0x1f00), 1);
  EXPECT_TRUE(ram->note_store(GuestPhys(0x1040), 1));
  EXPECT_EQ(ram->code_page(GuestPhys(0x1000)).chunks.load(), 0u);
  EXPECT_FALSE(ram->note_store(GuestPhys(0x1f00), 1));
}

TEST(CodeTracking, OnlyOldCodeIsForgotten) {
  const auto ram = make(4);
  EXPECT_FALSE(ram->forget_old_code(GuestPhys(0x1000))) << "no code at all";
  const u32 before = ram->track_code(GuestPhys(0x1040), 1);
  EXPECT_FALSE(ram->forget_old_code(GuestPhys(0x1000)));
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  EXPECT_TRUE(ram->forget_old_code(GuestPhys(0x1000)));
  EXPECT_NE(ram->track_code(GuestPhys(0x1040), 1), before);
}

// Whether one byte can be stored through `address`: a pipe's end is read into it, which fails without a
// signal.
bool writable(u8* address) {
  int ends[2];
  if (::pipe(ends) != 0) return false;
  const FileDescriptor from(ends[0]), to(ends[1]);
  return ::write(to.get(), "x", 1) == 1 && ::read(from.get(), address, 1) == 1;
}

TEST(RamViews, PagesWithCodeAreReadOnlyInTheViewForStores) {
  const auto ram = make(4);
  ram->track_code(GuestPhys(0x1040), 1);
  const RamViews* const views = ram->views();
  if (views == nullptr) GTEST_SKIP() << "this process has no address space for views of RAM";
  const auto store = [&](u64 a) { return ram->host(GuestPhys(a)) + views->store_delta(); };
  EXPECT_FALSE(writable(store(0x1000))) << "tracked before there were views";
  EXPECT_TRUE(writable(store(0x2000)));
  EXPECT_EQ(*ram->host(GuestPhys(0x2000)), 'x');
  EXPECT_FALSE(writable(ram->host(GuestPhys(0x2000)) + views->load_delta()));
  ram->track_code(GuestPhys(0x2080), 1);
  EXPECT_FALSE(writable(store(0x2000)));
  ram->note_store(GuestPhys(0x2080), 1);
  EXPECT_TRUE(writable(store(0x2000)));
  EXPECT_TRUE(writable(ram->host(GuestPhys(0x1000)))) << "devices and handlers store here";
}

TEST(CodeTracking, PagesAbove4GibHaveRecordsOfTheirOwn) {
  auto ram = std::move(GuestRam::create(GuestRam::kLowRamLimit + kPageSize).value());
  EXPECT_EQ(&ram->code_page(GuestPhys(GuestRam::kHighRamStart)),
            &ram->code_page(GuestPhys(GuestRam::kLowRamLimit - kPageSize)) + 1);
}

// One thread stores to a page as a vCPU's fast path does (store, then look at the chunks); the other decodes
// it at the same time. Either the decoder saw the new byte, or the generation has moved on from the one it
// remembered. Without the barrier in track_code() a store still in the store buffer can be missed: the record
// is in the storing processor's cache, the stored line in the other's. (Seeing that takes two free
// processors; a busy machine passes either way.)
TEST(CodeTracking, NoStoreInFlightIsMissed) {
  constexpr u64 kRounds = 4000;
  const auto ram = make(kRounds);
  const auto meet = [](std::atomic<u64>& mine, const std::atomic<u64>& other, u64 round) {
    mine.store(round);
    for (int spins = 0; other.load(std::memory_order_relaxed) < round; ++spins) {
      if (spins > 2000) std::this_thread::yield();  // one processor, or a busy one
    }
  };
  const auto linger = [](u64 turns) {  // the two meet at every offset of some hundred cycles
    for (u64 i = 0; i < turns; ++i) asm volatile("nop");
  };
  std::atomic<u64> storer_at{0}, decoder_at{0};
  std::vector<u32> remembered(kRounds);
  std::vector<u8> decoded(kRounds);

  std::thread storer([&] {
    for (u64 i = 0; i < kRounds; ++i) {
      const GuestPhys a(i * kPageSize);
      CodePage& page = ram->code_page(a);
      page.chunks.load();
      meet(storer_at, decoder_at, i + 1);
      linger(13 * i % 512);
      guest_store<u8>(ram->host(a), 1);
      if (page.chunks.load(std::memory_order_relaxed) != 0) ram->note_store(a, 1);
    }
  });
  for (u64 i = 0; i < kRounds; ++i) {
    const GuestPhys a(i * kPageSize);
    guest_store<u8>(ram->host(a), 0);
    meet(decoder_at, storer_at, i + 1);
    linger(7 * i % 512);
    remembered[i] = ram->track_code(a, 1);
    decoded[i] = guest_load<u8>(ram->host(a));
  }
  storer.join();

  u64 missed = 0;
  for (u64 i = 0; i < kRounds; ++i)
    missed += decoded[i] == 0 && ram->code_page(GuestPhys(i * kPageSize)).generation.load() == remembered[i]
                  ? 1
                  : 0;
  EXPECT_EQ(missed, 0u);
}

}  // namespace
}  // namespace vellum
