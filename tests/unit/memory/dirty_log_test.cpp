// The dirty log: what counts as a store, that each is in exactly one answer or a later one, and that none is
// missed by another thread. Engines' own stores: tests/unit/interp, bt and kvm.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "memory/address_space.hpp"
#include "memory/dma_view.hpp"
#include "memory/guest_access.hpp"

namespace vellum {
namespace {

class FakeSource final : public DirtySource {
 public:
  void watch_stores(bool on) override { watching = on; }
  void add_dirty_pages(std::span<u64> pages) override { pages[0] |= std::exchange(seen, 0); }
  bool watching = false;
  u64 seen = 0;
};

struct DirtyLog : ::testing::Test {
  u64 taken() { return ram->take_dirty_pages().at(0); }
  void store(u64 page, u8 value) {
    const GuestPhys at(page * kPageSize + 8);
    guest_store(ram->host(at), value);
    if (ram->code_page(at).chunks.load() != 0) ram->note_store(at, 1);  // as engines do
  }
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(8 * kPageSize, 2 * kPageSize));
};

TEST_F(DirtyLog, APageIsInTheAnswerAfterItsStore) {
  ram->start_dirty_log();
  store(2, 1);
  store(2, 2);
  store(5, 1);

  EXPECT_EQ(taken(), 1u << 2 | 1u << 5);
  EXPECT_EQ(taken(), 0u);
  store(2, 3);
  EXPECT_EQ(taken(), 1u << 2);
}

TEST_F(DirtyLog, StoresBeforeItAndAfterItAreNotInIt) {
  store(1, 1);
  ram->start_dirty_log();
  EXPECT_EQ(taken(), 0u);
  store(1, 1);
  ram->stop_dirty_log();
  EXPECT_TRUE(ram->take_dirty_pages().empty());
  store(3, 1);
  ram->start_dirty_log();

  EXPECT_EQ(taken(), 0u);
}

TEST_F(DirtyLog, WhenItIsOffAPageIsNoticedOnceAtMost) {
  ram->start_dirty_log();
  ram->stop_dirty_log();
  store(1, 1);
  const u32 after_first = ram->code_page(GuestPhys(kPageSize)).generation.load();
  store(1, 2);

  EXPECT_EQ(ram->code_page(GuestPhys(kPageSize)).generation.load(), after_first);
}

TEST_F(DirtyLog, DevicesStoresCountOnEachPageThatTheyTouch) {
  const DmaView dma(*ram);
  const std::array<u8, 2 * kPageSize> bytes{};
  ram->start_dirty_log();

  dma.write(GuestPhys(kPageSize - 1), bytes);

  EXPECT_EQ(taken(), 0b111u);
}

TEST_F(DirtyLog, MemoryThatIsNotRamComesBehindIt) {
  const unsigned block = ram->add_block(2 * kPageSize);
  ram->map_block(block, GuestPhys(0xe0000000), Pmap::Access::kReadWrite);
  ram->start_dirty_log();

  guest_store(ram->store_host(GuestPhys(0xe0001000)), u8{1});
  ram->note_store(GuestPhys(0xe0001000), 1);

  EXPECT_EQ(taken(), u64{1} << 9);
}

TEST_F(DirtyLog, CodeIsTrackedAsBefore) {
  ram->start_dirty_log();
  const u32 before = ram->track_code(GuestPhys(0x1040), 4);
  guest_store(ram->host(GuestPhys(0x1040)), u8{1});

  EXPECT_TRUE(ram->note_store(GuestPhys(0x1040), 1));
  EXPECT_NE(ram->track_code(GuestPhys(0x1040), 4), before);
  EXPECT_EQ(taken(), 1u << 1);
}

TEST_F(DirtyLog, SourcesAddTheirs) {
  FakeSource source;
  ram->add_dirty_source(source);
  ram->start_dirty_log();
  EXPECT_TRUE(source.watching);
  source.seen = 1u << 4;
  store(0, 1);

  EXPECT_EQ(taken(), 1u << 4 | 1u);
  EXPECT_EQ(taken(), 0u);
  ram->stop_dirty_log();
  EXPECT_FALSE(source.watching);
  ram->remove_dirty_source(source);
}

// Whoever copies the dirty pages after each answer has all of memory in the end.
TEST_F(DirtyLog, CopiesOfDirtyPagesMissNoStore) {
  ram->views();
  ram->start_dirty_log();
  std::atomic<bool> end{false};
  std::thread guest([&] {
    for (u64 n = 1; n < 20'000; ++n) store(n % 3, static_cast<u8>(n));
    end = true;
  });
  std::array<u8, 3> copy{};
  for (bool last = false; !last;) {
    last = end;
    const u64 dirty = taken();
    for (u64 page = 0; page < 3; ++page)
      copy[page] =
          (dirty >> page & 1) != 0 ? guest_load<u8>(ram->host(GuestPhys(page * kPageSize + 8))) : copy[page];
  }
  guest.join();

  for (u64 page = 0; page < 3; ++page)
    EXPECT_EQ(copy[page], *ram->host(GuestPhys(page * kPageSize + 8))) << page;
}

}  // namespace
}  // namespace vellum
