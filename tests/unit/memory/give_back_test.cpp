// Memory given back to the host: that it is, that nothing else is, and that whoever has to hear of it does.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "memory/give_back.hpp"
#include "memory/guest_access.hpp"

namespace vellum {
namespace {

constexpr u64 kChunk = Residency::kChunk;

struct GiveBack : ::testing::Test {
  /// What the host holds of guest memory, in bytes.
  u64 held() const {
    struct stat status {};
    ::fstat(ram->memfd(), &status);
    return static_cast<u64>(status.st_blocks) * 512;
  }
  void use(u64 at) {
    u8* const host = ram->host(GuestPhys(at));
    ram->will_use(host);
    guest_store<u8>(host, 7);
  }
  u8 read(u64 at) const { return guest_load<u8>(ram->host(GuestPhys(at))); }
  bool give_back(u64 at, u64 size) { return vellum::give_back(*ram, {GuestPhys(at), size}); }
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(4 << 20, 1 << 20));
};

TEST_F(GiveBack, TheHostHasItAgainAndTheGuestReadsZeroes) {
  use(kChunk);
  use(2 * kChunk);
  const u64 before = held();

  EXPECT_TRUE(give_back(kChunk, 2 * kPageSize));

  EXPECT_EQ(held(), before - 2 * kPageSize);
  EXPECT_EQ(read(kChunk), 0);
  EXPECT_EQ(read(2 * kChunk), 7);
}

TEST_F(GiveBack, ItCanBeUsedAgain) {
  use(kChunk);
  give_back(kChunk, kPageSize);
  use(kChunk);
  EXPECT_EQ(read(kChunk), 7);
}

TEST_F(GiveBack, EveryMappingSeesIt) {
  RamViews* const views = ram->views();
  if (views == nullptr) GTEST_SKIP() << "this process has no address space for views of RAM";
  use(kChunk);
  const u8* const view = ram->host(GuestPhys(kChunk)) + views->load_delta();
  EXPECT_EQ(guest_load<u8>(view), 7);

  give_back(kChunk, kPageSize);

  EXPECT_EQ(guest_load<u8>(view), 0);
}

TEST_F(GiveBack, ANeighboursUseDoesNotBringPagesBack) {
  use(kChunk);
  EXPECT_TRUE(give_back(kChunk, kChunk - kPageSize));
  const u64 before = held();
  use(2 * kChunk - kPageSize);
  EXPECT_EQ(held(), before);
}

TEST_F(GiveBack, CodeThereIsDecodedAgain) {
  const u32 before = ram->track_code(GuestPhys(kChunk + 0x40), 10);
  give_back(0, 2 * kChunk);
  EXPECT_NE(ram->track_code(GuestPhys(kChunk + 0x40), 10), before);
}

TEST_F(GiveBack, ItIsAStoreForTheDirtyLog) {
  ram->start_dirty_log();
  give_back(3 * kPageSize, 2 * kPageSize);
  EXPECT_EQ(ram->take_dirty_pages().at(0), u64{1} << 3 | u64{1} << 4);
}

TEST_F(GiveBack, OnlyRamIsTaken) {
  const unsigned block = ram->add_block(1 << 20);
  ram->map_block(block, GuestPhys(u64{0xfff00000}), Pmap::Access::kReadWrite);
  guest_store<u8>(ram->block_bytes(block).data(), 9);
  EXPECT_FALSE(give_back(0xfff00000, kPageSize));
  EXPECT_FALSE(give_back((4 << 20) - kPageSize, 2 * kPageSize));
  EXPECT_FALSE(give_back(u64{1} << 43, u64{1} << 43));
  EXPECT_EQ(ram->block_bytes(block)[0], 9);
}

TEST_F(GiveBack, NotWhereRamIsNotInItsPlace) {
  use(0xc0000);
  ram->map_shadow({GuestPhys(0xc0000), 0x10000}, {}, {});
  EXPECT_FALSE(give_back(0xbf000, 4 * kPageSize));
  ram->map_shadow({GuestPhys(0xc0000), 0x10000}, {GuestRam::Behind::Kind::kRam},
                  {GuestRam::Behind::Kind::kRam});
  EXPECT_EQ(read(0xc0000), 7);
}

}  // namespace
}  // namespace vellum
