#include "devices/virtio/blk.hpp"

#include "driver.hpp"
#include "memory_disk.hpp"

namespace vellum {
namespace {

using test::MemoryDisk;
using test::Ring;

constexpr u64 kRing = 0x10000, kHeader = 0x30000, kData = 0x40000, kStatus = 0x50000;

struct VirtioBlk : ::testing::Test {
  void begin(bool packed = false) {
    loop = std::move(*EventLoop::create());
    ring.emplace(*ram, kRing, 16, packed);
    blk = std::make_unique<virtio::Blk>(IoContext{loop.get(), synchronous}, disk, 1, "serial");
    blk->connect(transport);
    test::start(*blk, packed ? virtio::kRingPacked : 0, {&*ring});
  }
  /// One request, waited for. The status byte.
  u8 request(u32 type, u64 sector, std::initializer_list<test::DescriptorSpec> data) {
    offer(type, sector, data);
    blk->notify(0);
    disk->finish_all();
    return ring->get<u8>(kStatus);
  }
  void offer(u32 type, u64 sector, std::initializer_list<test::DescriptorSpec> data) {
    ring->put<u32>(kHeader, type), ring->put<u64>(kHeader + 8, sector), ring->put<u8>(kStatus, 0xee);
    const auto* d = data.begin();
    if (data.size() == 0) {
      ring->add({{kHeader, 16}, {kStatus, 1, true}});
    } else if (data.size() == 1) {
      ring->add({{kHeader, 16}, d[0], {kStatus, 1, true}});
    } else {
      ring->add({{kHeader, 16}, d[0], d[1], {kStatus, 1, true}});
    }
  }
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  test::CountingTransport transport{*ram};
  std::shared_ptr<MemoryDisk> disk = std::make_shared<MemoryDisk>();
  bool synchronous = true;
  std::unique_ptr<EventLoop> loop;
  std::optional<Ring> ring;
  std::unique_ptr<virtio::Blk> blk;
};

TEST_F(VirtioBlk, ReadsIntoScatteredBuffers) {
  begin();
  disk->bytes[512] = 1, disk->bytes[1023] = 2, disk->bytes[1024] = 3;
  EXPECT_EQ(request(0, 1, {{kData, 512, true}, {kData + 0x1000, 512, true}}), 0);
  EXPECT_EQ(ring->get<u8>(kData), 1);
  EXPECT_EQ(ring->get<u8>(kData + 511), 2);
  EXPECT_EQ(ring->get<u8>(kData + 0x1000), 3);
  EXPECT_EQ(ring->used_length(0), 1025u);
  EXPECT_EQ(transport.queue_interrupts, 1u);
}

TEST_F(VirtioBlk, ReadsIntoCodeAreNoticed) {
  begin();
  const u32 generation = ram->track_code(GuestPhys(kData + 256), 4);
  EXPECT_EQ(request(0, 0, {{kData, 512, true}}), 0);
  EXPECT_NE(ram->code_page(GuestPhys(kData)).generation.load(), generation);
}

TEST_F(VirtioBlk, WorksThroughAPackedRing) {
  begin(true);
  for (unsigned n = 0; n < 40; ++n) {
    ring->put<u8>(kData, static_cast<u8>(n));
    ASSERT_EQ(request(1, n, {{kData, 512}}), 0) << n;
    ASSERT_EQ(disk->bytes[512 * n], n);
  }
}

TEST_F(VirtioBlk, FlushesAndIdentifiesItself) {
  begin();
  EXPECT_EQ(request(4, 0, {}), 0);
  EXPECT_EQ(disk->kinds, std::vector<DiskRequest::Kind>{DiskRequest::Kind::kFlush});
  EXPECT_EQ(request(8, 0, {{kData, 20, true}}), 0);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(ram->host(GuestPhys(kData)))), "serial");
}

TEST_F(VirtioBlk, ADriverWithoutFlushHasItsWritesFlushed) {
  using Kind = DiskRequest::Kind;
  begin();
  EXPECT_EQ(request(1, 0, {{kData, 512}}), 0);
  EXPECT_EQ(disk->kinds, (std::vector{Kind::kWrite, Kind::kFlush}));
  disk->kinds.clear();
  ring->put<u64>(kData, 0), ring->put<u32>(kData + 8, 1), ring->put<u32>(kData + 12, 0);
  ring->put<u64>(kData + 16, 2), ring->put<u32>(kData + 24, 1), ring->put<u32>(kData + 28, 0);
  EXPECT_EQ(request(13, 0, {{kData, 32}}), 0);
  EXPECT_EQ(disk->kinds, (std::vector{Kind::kWriteZeroes, Kind::kWriteZeroes, Kind::kFlush}));
  disk->kinds.clear();
  blk->set_status(0);
  ring.emplace(*ram, 0x20000, 16, false);
  test::start(*blk, 1 << 9, {&*ring});
  EXPECT_EQ(request(1, 0, {{kData, 512}}), 0);
  EXPECT_EQ(disk->kinds, std::vector{Kind::kWrite});
  ring->put<u64>(kData, 0), ring->put<u32>(kData + 8, 1), ring->put<u32>(kData + 12, 0);
  EXPECT_EQ(request(13, 0, {{kData, 16}}), 0);
  EXPECT_EQ(disk->kinds, (std::vector{Kind::kWrite, Kind::kWriteZeroes}));
}

TEST_F(VirtioBlk, WritesZeroesAndDiscards) {
  begin();
  ring->put<u64>(kData, 2), ring->put<u32>(kData + 8, 1), ring->put<u32>(kData + 12, 1);
  EXPECT_EQ(request(13, 0, {{kData, 16}}), 0);
  EXPECT_EQ(disk->bytes[1024], 0);
  EXPECT_EQ(disk->bytes[1023], 0xab);
  EXPECT_EQ(request(11, 0, {{kData, 16}}), 2);  // a discard with the unmap flag
  ring->put<u32>(kData + 12, 0);
  EXPECT_EQ(request(11, 0, {{kData, 16}}), 0);
  EXPECT_EQ(disk->kinds.back(), DiskRequest::Kind::kDiscard);
  ring->put<u32>(kData + 8, 63);
  EXPECT_EQ(request(13, 0, {{kData, 16}}), 1);  // beyond the end
}

TEST_F(VirtioBlk, RefusesWhatDoesNotFit) {
  begin();
  EXPECT_EQ(request(0, 64, {{kData, 512, true}}), 1);
  EXPECT_EQ(request(0, 63, {{kData, 1024, true}}), 1);
  EXPECT_EQ(request(0, ~u64{0}, {{kData, 512, true}}), 1);
  EXPECT_EQ(request(0, 0, {{kData, 511, true}}), 1);
  EXPECT_EQ(request(77, 0, {}), 2);
  EXPECT_TRUE(disk->kinds.empty());
}

TEST_F(VirtioBlk, ReportsErrorsOfTheDisk) {
  begin();
  disk->fails = true;
  EXPECT_EQ(request(0, 0, {{kData, 512, true}}), 1);
  EXPECT_EQ(ring->used_length(0), 1u);
}

TEST_F(VirtioBlk, AReadOnlyDiskSaysSo) {
  disk->is_read_only = true;
  begin();
  EXPECT_NE(blk->features() & (1 << 5), 0u);
  EXPECT_EQ(blk->features() & (1 << 13), 0u);
  EXPECT_EQ(request(1, 0, {{kData, 512}}), 1);
  EXPECT_TRUE(disk->kinds.empty());
}

TEST_F(VirtioBlk, ConfigSpaceTellsTheSize) {
  begin();
  EXPECT_EQ(blk->read_config(0, 4), 64u);
  EXPECT_EQ(blk->read_config(20, 4), 512u);
  EXPECT_EQ(blk->read_config(34, 2), 1u);
  EXPECT_EQ(blk->read_config(44, 4), 8u);
  EXPECT_EQ(blk->read_config(56, 1), 1u);
  EXPECT_EQ(blk->read_config(60, 4), 0u);
}

TEST_F(VirtioBlk, ARequestWithoutStatusNeedsAReset) {
  begin();
  ring->add({{kHeader, 16}});
  blk->notify(0);
  EXPECT_NE(blk->status() & virtio::kNeedsReset, 0);
  EXPECT_EQ(transport.config_interrupts, 1u);
}

TEST_F(VirtioBlk, ABrokenRingNeedsAResetAndAResetMendsIt) {
  begin();
  ring->offer(99);
  blk->notify(0);
  EXPECT_NE(blk->status() & virtio::kNeedsReset, 0);
  blk->set_status(0);
  EXPECT_EQ(blk->status(), 0);
  ring.emplace(*ram, 0x20000, 16, false);
  test::start(*blk, 0, {&*ring});
  EXPECT_EQ(request(4, 0, {}), 0);
}

TEST_F(VirtioBlk, AResetWaitsForWhatIsUnderWay) {
  synchronous = false;
  begin();
  offer(0, 0, {{kData, 512, true}});
  blk->resume();  // what a notification does on the loop
  ASSERT_EQ(disk->waiting.size(), 1u);
  blk->set_status(0);
  EXPECT_TRUE(disk->waiting.empty());
  EXPECT_EQ(ring->get<u8>(kData), 0xab);
}

TEST_F(VirtioBlk, FeaturesThatWereNotOfferedAreRefused) {
  begin();
  blk->set_status(0);
  blk->set_status(3);
  blk->set_driver_features(virtio::kVersion1 | u64{1} << 60);
  blk->set_status(3 | virtio::kFeaturesOk);
  EXPECT_EQ(blk->status() & virtio::kFeaturesOk, 0);
}

TEST_F(VirtioBlk, SavedWithARequestUnderWayItGoesOn) {
  synchronous = false;
  begin();
  offer(0, 1, {{kData, 512, true}});
  blk->resume();
  ASSERT_EQ(disk->waiting.size(), 1u);
  blk->quiesce();
  EXPECT_EQ(ring->get<u8>(kStatus), 0);
  offer(1, 3, {{kData, 512}});  // made available, not looked at yet
  ring->put<u8>(kData, 0x77);
  const auto saved = decode_state<virtio::Blk::State>(blk->save());
  ASSERT_TRUE(saved);
  blk.reset();
  virtio::Blk restored(IoContext{loop.get(), false}, disk, 1, "serial", *saved);
  restored.connect(transport);
  EXPECT_TRUE(disk->waiting.empty());
  restored.resume();
  disk->finish_all();
  EXPECT_EQ(disk->bytes[3 * 512], 0x77);
  EXPECT_EQ(ring->used_index(), 2);
}

}  // namespace
}  // namespace vellum
