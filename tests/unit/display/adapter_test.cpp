// The display interface, and the adapter on the PCI bus.
#include "fixture.hpp"

namespace vellum::test {
namespace {

using vga::Dispi;
using DispiTest = Display;
using AdapterTest = Display;

TEST_F(DispiTest, SaysItsVersionAndMemory) {
  EXPECT_EQ(dispi(Dispi::kId), 0xb0c5);
  dispi(Dispi::kId, 0xb0c0);
  EXPECT_EQ(dispi(Dispi::kId), 0xb0c0);
  dispi(Dispi::kId, 0x1234);
  EXPECT_EQ(dispi(Dispi::kId), 0xb0c0);
  EXPECT_EQ(dispi(Dispi::kMemory), kMemory >> 16);
}

TEST_F(DispiTest, SaysWhatItCanDoWhenAsked) {
  dispi(Dispi::kEnable, Dispi::kGetCapabilities);

  EXPECT_EQ(dispi(Dispi::kWidth), Dispi::kMaxWidth);
  EXPECT_EQ(dispi(Dispi::kBpp), 32);
}

TEST_F(DispiTest, EnablingAModeClearsItsMemory) {
  memory()[0] = memory()[320 * 200 * 4 - 1] = memory()[320 * 200 * 4] = 1;
  dispi(Dispi::kWidth, 320), dispi(Dispi::kHeight, 200), dispi(Dispi::kBpp, 32);

  dispi(Dispi::kEnable, Dispi::kEnabled);
  EXPECT_EQ(memory()[0], 0);
  EXPECT_EQ(memory()[320 * 200 * 4 - 1], 0);
  EXPECT_EQ(memory()[320 * 200 * 4], 1);
  EXPECT_EQ(dispi(Dispi::kVirtualWidth), 320);
}

TEST_F(DispiTest, OrNotIfTheGuestSaysSo) {
  memory()[0] = 1;
  dispi(Dispi::kWidth, 320), dispi(Dispi::kHeight, 200), dispi(Dispi::kBpp, 32);

  dispi(Dispi::kEnable, Dispi::kEnabled | Dispi::kNoClear);
  EXPECT_EQ(memory()[0], 1);
}

TEST_F(DispiTest, AModeThatTheMemoryLacksIsCut) {
  dispi(Dispi::kWidth, 0xffff), dispi(Dispi::kHeight, 0xffff), dispi(Dispi::kBpp, 17);
  dispi(Dispi::kEnable, Dispi::kEnabled);
  dispi(Dispi::kX, 0xffff), dispi(Dispi::kY, 0xffff);

  EXPECT_EQ(dispi(Dispi::kBpp), 8);
  EXPECT_EQ(dispi(Dispi::kWidth), Dispi::kMaxWidth);
  EXPECT_EQ(dispi(Dispi::kHeight), kMemory / Dispi::kMaxWidth);
  EXPECT_EQ(dispi(Dispi::kX), 0);
  EXPECT_EQ(dispi(Dispi::kY), 0);
}

TEST_F(DispiTest, TheScreenCanStartElsewhereInAWiderPicture) {
  dispi(Dispi::kWidth, 64), dispi(Dispi::kHeight, 32), dispi(Dispi::kBpp, 32);
  dispi(Dispi::kEnable, Dispi::kEnabled);
  dispi(Dispi::kVirtualWidth, 128), dispi(Dispi::kX, 8), dispi(Dispi::kY, 2);
  memory()[(128 * 2 + 8) * 4] = 0xff;

  EXPECT_EQ(pixel(adapter->screen(), 0, 0), 0x0000ffu);
}

TEST_F(AdapterTest, ItsMemoryIsMappedWhereTheBarSays) {
  memory()[5] = 0x42;
  EXPECT_EQ(*ram->host(GuestPhys(kBar0 + 5)), 0x42);

  adapter->write_config(pci::kBar0, 4, 0xf000'0000);
  EXPECT_EQ(ram->host(GuestPhys(kBar0)), nullptr);
  EXPECT_EQ(ram->store_host(GuestPhys(0xf000'0005)), &memory()[5]);
  adapter->write_config(pci::kCommand, 2, 0);
  EXPECT_EQ(ram->host(GuestPhys(0xf000'0000)), nullptr);
}

TEST_F(AdapterTest, TheBarsSizeAndKindAreFound) {
  adapter->write_config(pci::kBar0, 4, ~0u);

  EXPECT_EQ(adapter->read_config(pci::kBar0, 4), ~static_cast<u32>(kMemory - 1) | 8);
}

TEST_F(AdapterTest, RegistersAreInMemoryToo) {
  board.mmio.write(kBar2 + 0x500 + 2 * Dispi::kWidth, 2, 800);
  EXPECT_EQ(dispi(Dispi::kWidth), 800);
  EXPECT_EQ(board.mmio.read(kBar2 + 0x500 + 2 * Dispi::kWidth, 2), 800u);
  board.mmio.write(kBar2 + 0x404, 2, 0x0702);  // sequencer, map mask
  EXPECT_EQ(board.mmio.read(kBar2 + 0x405, 1), 7u);
  EXPECT_EQ(board.mmio.read(kBar2, 4), 0u) << "no EDID";
}

TEST_F(AdapterTest, TheRomIsReadOnceItIsEnabled) {
  adapter->write_config(pci::kRomBar, 4, kRom);
  EXPECT_EQ(board.mmio.read(kRom + 3, 1), 0xffu);

  adapter->write_config(pci::kRomBar, 4, kRom | 1);
  EXPECT_EQ(board.mmio.read(kRom + 3, 1), 21u);
  EXPECT_EQ(board.mmio.read(kRom + 3001, 1), 0xffu) << "beyond its contents";
  adapter->write_config(pci::kRomBar, 4, ~0u);
  EXPECT_EQ(adapter->read_config(pci::kRomBar, 4), 0xffff'f001u);
}

TEST_F(AdapterTest, ItIsRestoredWithItsMapping) {
  text_mode(80, 25);
  dispi(Dispi::kBank, 2);
  const auto saved = adapter->save();
  const auto state = decode_state<vga::Adapter::State>(saved);
  ASSERT_TRUE(state);
  PciBoard other;
  const auto other_ram = std::move(*GuestRam::create(1 << 20, kMemory));
  vga::Adapter restored(other.bus, clock, *other_ram, other_ram->add_block(kMemory), rom, *state);
  other.bus.add(pci::devfn(vga::Adapter::kDevice, 0), restored);

  EXPECT_EQ(restored.save().bytes, saved.bytes);
  EXPECT_NE(other_ram->host(GuestPhys(kBar0)), nullptr);
}

}  // namespace
}  // namespace vellum::test
