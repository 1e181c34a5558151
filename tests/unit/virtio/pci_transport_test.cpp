// virtio over PCI: doorbells are where the notification area is, and do what a write there does.
#include "devices/virtio/pci_transport.hpp"

#include "../pci/doorbell_log.hpp"
#include "../pci/pci_board.hpp"
#include "devices/virtio/blk.hpp"
#include "driver.hpp"
#include "memory_disk.hpp"

namespace vellum {
namespace {

constexpr u64 kBar = 0xe000'0000, kNotify = 0x3000, kRing = 0x10000, kHeader = 0x30000, kData = 0x40000,
              kStatusByte = 0x50000;

struct VirtioPci : ::testing::Test, test::PciBoard {
  VirtioPci() {
    bus.memory().offer_doorbells(bells);
    blk = std::make_unique<virtio::Blk>(IoContext{loop.get(), true}, disk, 2, "serial");
    function = std::make_unique<virtio::PciTransport>(bus, *blk);
    bus.add(pci::devfn(3, 0), *function);
    function->write_config(pci::kBar0 + 16, 4, kBar);
    function->write_config(pci::kCommand, 2, pci::kMemoryEnable | pci::kMasterEnable);
  }
  void offer_read() {
    ring->put<u32>(kHeader, 0), ring->put<u64>(kHeader + 8, 0), ring->put<u8>(kStatusByte, 0xee);
    ring->add({{kHeader, 16}, {kData, 512, true}, {kStatusByte, 1, true}});
  }

  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::shared_ptr<test::MemoryDisk> disk = std::make_shared<test::MemoryDisk>();
  std::optional<test::Ring> ring{std::in_place, *ram, kRing, 16, false};
  test::DoorbellLog bells;
  std::unique_ptr<virtio::Blk> blk;
  std::unique_ptr<virtio::PciTransport> function;
};

TEST_F(VirtioPci, EachQueueHasADoorbellInTheNotificationArea) {
  ASSERT_EQ(bells.at.size(), 2u);
  EXPECT_EQ(bells.at[0], (DoorbellPlace{kBar + kNotify, 2, std::nullopt}));
  EXPECT_EQ(bells.at[1], (DoorbellPlace{kBar + kNotify + 4, 2, std::nullopt}));
}

TEST_F(VirtioPci, ARingIsAsGoodAsAWrite) {
  test::start(*blk, 0, {&*ring});

  offer_read();
  bells.rings[0]();
  const u16 after_ring = ring->used_index();
  offer_read();
  mmio.write(kBar + kNotify, 2, 0);

  EXPECT_EQ(after_ring, 1u);
  EXPECT_EQ(ring->used_index(), 2u);
}

// What the kernel had counted before a reset may arrive after it.
TEST_F(VirtioPci, ALateRingDoesNothingToADeviceThatWasReset) {
  test::start(*blk, 0, {&*ring});
  offer_read();

  blk->set_status(0);
  bells.rings[0]();

  EXPECT_EQ(ring->used_index(), 0u);
  EXPECT_TRUE(disk->kinds.empty());
}

}  // namespace
}  // namespace vellum
