// The registers as a driver sees them (virtio 1.2 §4.2.2), with a disk behind them.
#include "devices/virtio/mmio_transport.hpp"

#include "devices/virtio/blk.hpp"
#include "driver.hpp"
#include "memory_disk.hpp"

namespace vellum {
namespace {

using test::Ring;

constexpr u64 kRing = 0x10000, kHeader = 0x30000, kData = 0x40000, kStatusByte = 0x50000;

class Level final : public InterruptLine {
 public:
  void set(bool asserted) override { high = asserted; }
  bool high = false;
};

struct VirtioMmio : ::testing::Test {
  void make(bool synchronous = true) {
    blk = std::make_unique<virtio::Blk>(IoContext{loop.get(), synchronous}, disk, 2, "serial");
    registers = std::make_unique<virtio::MmioTransport>(*ram, line, *blk);
  }
  u32 get(u64 offset) { return static_cast<u32>(registers->read(offset, 4)); }
  void set(u64 offset, u32 value) { registers->write(offset, 4, value); }
  /// As Linux does it (§3.1.1, §4.2.3.2).
  void start(u32 ring_features = 0) {
    set(0x070, 0), set(0x070, 1), set(0x070, 3);
    set(0x024, 1), set(0x020, 1);
    set(0x024, 0), set(0x020, ring_features);
    set(0x070, 11);
    EXPECT_EQ(get(0x070), 11u);
    set(0x030, 0);
    EXPECT_EQ(get(0x044), 0u);
    set(0x038, ring->state.size);
    set(0x080, static_cast<u32>(ring->state.descriptors)), set(0x084, 0);
    set(0x090, static_cast<u32>(ring->state.driver)), set(0x094, 0);
    set(0x0a0, static_cast<u32>(ring->state.device)), set(0x0a4, 0);
    set(0x044, 1);
    EXPECT_EQ(get(0x044), 1u);
    set(0x070, 15);
  }
  void offer_read() {
    ring->put<u32>(kHeader, 0), ring->put<u64>(kHeader + 8, 0), ring->put<u8>(kStatusByte, 0xee);
    ring->add({{kHeader, 16}, {kData, 512, true}, {kStatusByte, 1, true}});
  }

  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::shared_ptr<test::MemoryDisk> disk = std::make_shared<test::MemoryDisk>();
  std::optional<Ring> ring{std::in_place, *ram, kRing, 16, false};
  Level line;
  std::unique_ptr<virtio::Blk> blk;
  std::unique_ptr<virtio::MmioTransport> registers;
};

TEST_F(VirtioMmio, SaysWhatItIs) {
  make();
  EXPECT_EQ(get(0x000), 0x74726976u);
  EXPECT_EQ(get(0x004), 2u);
  EXPECT_EQ(get(0x008), 2u);
  EXPECT_EQ(get(0x00c), 0x4d4c4c56u);
  EXPECT_EQ(get(0x070), 0u);
  set(0x014, 0);
  EXPECT_EQ(get(0x010), static_cast<u32>(blk->features()));
  set(0x014, 1);
  EXPECT_EQ(get(0x010), static_cast<u32>(blk->features() >> 32));
  EXPECT_EQ(get(0x010) & 1, 1u);  // VIRTIO_F_VERSION_1
  set(0x014, 2);
  EXPECT_EQ(get(0x010), 0u);
}

TEST_F(VirtioMmio, OnlyWholeAlignedRegistersAnswer) {
  make();
  EXPECT_EQ(registers->read(0x000, 2), 0u);
  EXPECT_EQ(registers->read(0x000, 8), 0u);
  EXPECT_EQ(registers->read(0x002, 4), 0u);
  registers->write(0x070, 1, 3);
  EXPECT_EQ(get(0x070), 0u);
  registers->write(0x072, 4, 3);
  EXPECT_EQ(get(0x070), 0u);
  // Write-only ones, and holes.
  for (const u64 offset :
       {0x014, 0x018, 0x020, 0x030, 0x038, 0x050, 0x064, 0x080, 0x0a4, 0x0ac, 0x0c0, 0x0f8})
    EXPECT_EQ(get(offset), 0u) << offset;
}

TEST_F(VirtioMmio, TheConfigurationSpaceTakesAnyWidth) {
  make();
  EXPECT_EQ(get(0x100), 64u);  // capacity
  EXPECT_EQ(registers->read(0x100, 8), 64u);
  EXPECT_EQ(registers->read(0x100, 1), 64u);
  EXPECT_EQ(registers->read(0x122, 2), 2u);  // num_queues
  EXPECT_EQ(registers->read(0xffc, 4), 0u);
  const u32 generation = get(0x0fc);
  registers->write(0x100, 4, 1);
  EXPECT_EQ(get(0x100), 64u);
  EXPECT_EQ(get(0x0fc), generation);
}

TEST_F(VirtioMmio, QueuesHaveTheirSizeAndThereAreNoMore) {
  make();
  set(0x030, 1);
  EXPECT_EQ(get(0x034), u32{virtio::Blk::kQueueSize});
  set(0x030, 2);
  EXPECT_EQ(get(0x034), 0u);
  set(0x044, 1);
  EXPECT_EQ(get(0x044), 0u);
  set(0x030, ~0u);
  set(0x044, 1), set(0x044, 0), set(0x038, 4), set(0x080, 1);
  EXPECT_EQ(get(0x034), 0u);
}

TEST_F(VirtioMmio, ThereIsNoSharedMemory) {
  make();
  set(0x0ac, 0);
  for (const u64 offset : {0x0b0, 0x0b4, 0x0b8, 0x0bc}) EXPECT_EQ(get(offset), ~0u) << offset;
}

TEST_F(VirtioMmio, ARequestRaisesTheLineUntilItIsAcknowledged) {
  make();
  start();
  offer_read();
  set(0x050, 0);
  EXPECT_EQ(ring->get<u8>(kStatusByte), 0);
  EXPECT_EQ(ring->get<u8>(kData), 0xab);
  EXPECT_EQ(get(0x060), 1u);
  EXPECT_TRUE(line.high);
  set(0x064, 2);  // the other one
  EXPECT_TRUE(line.high);
  set(0x064, 1);
  EXPECT_EQ(get(0x060), 0u);
  EXPECT_FALSE(line.high);
}

TEST_F(VirtioMmio, ABrokenRingWantsAReset) {
  make();
  start();
  ring->put<u16>(ring->state.driver + 2, 100);  // more than the ring has
  set(0x050, 0);
  EXPECT_EQ(get(0x070), 15u | 64u);
  EXPECT_EQ(get(0x060), 2u);
  EXPECT_TRUE(line.high);
  set(0x070, 0);
  EXPECT_EQ(get(0x070), 0u);
  EXPECT_EQ(get(0x060), 0u);
  EXPECT_EQ(get(0x044), 0u);
  EXPECT_FALSE(line.high);
}

TEST_F(VirtioMmio, ADriverFromBeforeVersion1IsRefused) {
  make();
  set(0x070, 3);
  set(0x024, 0), set(0x020, 1u << 9);
  set(0x070, 11);
  EXPECT_EQ(get(0x070), 3u);
  set(0x024, 1), set(0x020, 1);
  set(0x024, 2), set(0x020, ~0u);  // features that there are none of
  set(0x070, 11);
  EXPECT_EQ(get(0x070), 11u);
  EXPECT_EQ(blk->driver_features(), virtio::kVersion1 | 1u << 9);
}

TEST_F(VirtioMmio, AQueueThatIsTakenBackIsTouchedNoMore) {
  make(false);
  start();
  offer_read();
  blk->resume();  // what a notification does on the loop
  ASSERT_EQ(disk->waiting.size(), 1u);
  set(0x044, 0);
  EXPECT_EQ(get(0x044), 0u);
  EXPECT_TRUE(disk->waiting.empty());  // what was under way has ended before
  EXPECT_EQ(ring->used_index(), 1);
  offer_read();
  blk->resume();
  EXPECT_TRUE(disk->waiting.empty());
  EXPECT_EQ(get(0x070), 15u);
  set(0x070, 0);
  ring.emplace(*ram, kRing + 0x10000, 16, false);
  start();
  offer_read();
  blk->resume();
  EXPECT_EQ(disk->waiting.size(), 1u);
}

TEST_F(VirtioMmio, ATransportThatGoesLeavesNothingUnderWay) {
  make(false);
  start();
  offer_read();
  blk->resume();
  ASSERT_EQ(disk->waiting.size(), 1u);
  registers.reset();
  EXPECT_TRUE(disk->waiting.empty());
  EXPECT_EQ(ring->get<u8>(kStatusByte), 0);
}

TEST_F(VirtioMmio, SavedWithAnInterruptPendingItGoesOn) {
  make();
  start();
  offer_read();
  set(0x050, 0);
  set(0x014, 1), set(0x030, 1), set(0x024, 1);
  const auto device = decode_state<virtio::Blk::State>(blk->save());
  const auto state = decode_state<virtio::MmioTransport::State>(registers->save());
  ASSERT_TRUE(device && state);
  registers.reset(), blk.reset();
  line.high = false;

  blk = std::make_unique<virtio::Blk>(IoContext{loop.get(), true}, disk, 2, "serial", *device);
  registers = std::make_unique<virtio::MmioTransport>(*ram, line, *blk, *state);
  EXPECT_TRUE(line.high);
  EXPECT_EQ(get(0x060), 1u);
  EXPECT_EQ(get(0x070), 15u);
  EXPECT_EQ(get(0x010), static_cast<u32>(blk->features() >> 32));
  EXPECT_EQ(get(0x044), 0u);  // queue 1
  set(0x030, 0);
  EXPECT_EQ(get(0x044), 1u);
  set(0x064, 1);
  offer_read();
  set(0x050, 0);
  EXPECT_EQ(ring->used_index(), 2);
  EXPECT_TRUE(line.high);
}

}  // namespace
}  // namespace vellum
