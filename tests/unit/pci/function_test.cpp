#include "devices/pci/function.hpp"

#include "pci_board.hpp"

namespace vellum {
namespace {

using test::TestFunction;

constexpr u64 kMemoryAt = 0xe000'0000, kHighAt = 0x80'0000'0000, kIoAt = 0xc000;
constexpr u8 kSlot = pci::devfn(3, 0);

struct PciFunction : ::testing::Test, test::PciBoard {
  std::unique_ptr<TestFunction> make(const pci::FunctionState& state = {}) {
    auto function = std::make_unique<TestFunction>(*this, state);
    bus.add(kSlot, *function);
    return function;
  }
  static void place(TestFunction& function) {
    function.write_config(pci::kBar0, 4, kMemoryAt);
    function.write_config(pci::kBar0 + 4, 4, kIoAt);
    function.write_config(pci::kBar0 + 8, 4, static_cast<u32>(kHighAt));
    function.write_config(pci::kBar0 + 12, 4, kHighAt >> 32);
    function.write_config(pci::kBar0 + 16, 4, kMemoryAt + 0x10000);
    function.write_config(pci::kCommand, 2, 7);
  }
};

TEST_F(PciFunction, SaysWhoItIs) {
  const auto function = make();
  EXPECT_EQ(bus.read_config(0, kSlot, 0, 4), 0x5678'1234u);
  EXPECT_EQ(bus.read_config(0, kSlot, 8, 4), 0x0200'0007u);
  EXPECT_EQ(bus.read_config(0, kSlot, 0x2c, 4), 0xef01'abcdu);
  EXPECT_EQ(bus.read_config(0, kSlot, 0x3d, 1), 1u);
  bus.write_config(0, kSlot, 0, 4, 0);
  EXPECT_EQ(bus.read_config(0, kSlot, 0, 4), 0x5678'1234u);
}

TEST_F(PciFunction, ElsewhereReadsAllOnes) {
  const auto function = make();
  EXPECT_EQ(bus.read_config(0, kSlot + 1, 0, 4), 0xffff'ffffu);
  EXPECT_EQ(bus.read_config(1, kSlot, 0, 2), 0xffffu);
}

TEST_F(PciFunction, BarsShowTheirSizes) {
  const auto function = make();
  const auto sized = [&](unsigned offset) {
    function->write_config(offset, 4, ~0u);
    return function->read_config(offset, 4);
  };
  EXPECT_EQ(sized(0x10), 0xffff'f000u);
  EXPECT_EQ(sized(0x14), 0xffff'ffe1u);
  EXPECT_EQ(sized(0x18), 0xffff'c00cu);
  EXPECT_EQ(sized(0x1c), 0xffff'ffffu);
  EXPECT_EQ(sized(0x24), 0u);  // no BAR
  EXPECT_EQ(sized(0x30), 0u);  // no ROM
}

TEST_F(PciFunction, AnswersWhereItsBarsPoint) {
  const auto function = make();
  place(*function);
  EXPECT_EQ(mmio.read(kMemoryAt + 2, 1), 0x33u);
  EXPECT_EQ(mmio.read(kHighAt + 0x3fff, 1), (0x11 * 0x4000) & 0xffu);
  EXPECT_EQ(ports.read(kIoAt + 1, 1), 0x22u);
  ports.write(kIoAt + 0x1c, 4, 0xdeadbeef);
  EXPECT_EQ(function->io.writes, (std::vector<test::Registers::Write>{{0x1c, 4, 0xdeadbeef}}));
  EXPECT_EQ(mmio.read(kMemoryAt + 0x1000, 4), 0xffff'ffffu);
}

TEST_F(PciFunction, MovesAndStopsDecoding) {
  const auto function = make();
  place(*function);
  function->write_config(pci::kBar0, 4, 0xf000'0000);
  EXPECT_EQ(mmio.read(kMemoryAt, 1), 0xffu);
  EXPECT_EQ(mmio.read(0xf000'0000, 1), 0x11u);
  function->write_config(pci::kCommand, 2, pci::kIoEnable);
  EXPECT_EQ(mmio.read(0xf000'0000, 1), 0xffu);
  EXPECT_EQ(ports.read(kIoAt, 1), 0x11u);
}

TEST_F(PciFunction, AnAccessAcrossABarsEndIsSplit) {
  const auto function = make();
  place(*function);
  EXPECT_EQ(mmio.read(kMemoryAt + 0xffe, 4),
            0xffff'0000u | (0x11 * 0x1000 & 0xff) << 8 | (0x11 * 0xfff & 0xff));
  mmio.write(kMemoryAt - 2, 4, 0x44332211);
  EXPECT_EQ(function->memory.writes, (std::vector<test::Registers::Write>{{0, 1, 0x33}, {1, 1, 0x44}}));
}

TEST_F(PciFunction, ABarThatReachesBeyondTheSpaceAnswersNowhere) {
  const auto function = make();
  place(*function);
  function->write_config(pci::kBar0 + 4, 4, 0xffff'ffe0);
  EXPECT_EQ(ports.read(0xffe0, 1), 0xffu);
  function->write_config(pci::kBar0 + 12, 4, ~0u);
  EXPECT_EQ(mmio.read(0xffff'ffff'0000'0000 + (kHighAt & 0xffff'ffff), 1), 0xffu);
}

TEST_F(PciFunction, FixedDevicesComeFirst) {
  test::Registers fixed;
  ASSERT_TRUE(mmio.add(kMemoryAt, 4, fixed, "fixed"));
  const auto function = make();
  place(*function);
  mmio.write(kMemoryAt, 4, 1);
  EXPECT_EQ(fixed.writes.size(), 1u);
  EXPECT_TRUE(function->memory.writes.empty());
}

TEST_F(PciFunction, ThePinDrivesItsWireUnlessDisabled) {
  const auto function = make();
  function->set_interrupt(true);
  const unsigned wire = pci::pirq_of(3, 1);
  EXPECT_TRUE(wires.level[wire]);
  EXPECT_NE(function->read_config(pci::kStatus, 2) & pci::kInterruptStatus, 0u);
  function->write_config(pci::kCommand, 2, pci::kInterruptDisable);
  EXPECT_FALSE(wires.level[wire]);
  EXPECT_NE(function->read_config(pci::kStatus, 2) & pci::kInterruptStatus, 0u);
  function->write_config(pci::kCommand, 2, 0);
  EXPECT_TRUE(wires.level[wire]);
  function->set_interrupt(false);
  EXPECT_FALSE(wires.level[wire]);
}

TEST_F(PciFunction, AWireIsAssertedWhileAnyPinAssertsIt) {
  const auto one = make();
  TestFunction other(*this);
  bus.add(pci::devfn(7, 0), other);  // four slots on: the same wire
  const unsigned wire = pci::pirq_of(3, 1);
  ASSERT_EQ(pci::pirq_of(7, 1), wire);
  one->set_interrupt(true);
  other.set_interrupt(true);
  one->set_interrupt(false);
  EXPECT_TRUE(wires.level[wire]);
  other.set_interrupt(false);
  EXPECT_FALSE(wires.level[wire]);
}

TEST_F(PciFunction, DmaNeedsTheBusMasterBit) {
  const auto function = make();
  const DmaView dma = function->dma();
  const std::array<u8, 2> bytes{1, 2};
  EXPECT_FALSE(dma.write(GuestPhys(0x100), bytes));
  function->write_config(pci::kCommand, 2, pci::kMasterEnable);
  EXPECT_TRUE(dma.write(GuestPhys(0x100), bytes));
  EXPECT_EQ(*ram->host(GuestPhys(0x101)), 2);
  EXPECT_FALSE(dma.write(GuestPhys((1 << 20) - 1), bytes));
}

TEST_F(PciFunction, DmaIntoCodeIsNoticed) {
  const auto function = make();
  function->write_config(pci::kCommand, 2, pci::kMasterEnable);
  const u32 generation = ram->track_code(GuestPhys(0x2000), 16);
  const std::array<u8, 1> bytes{0x90};
  EXPECT_TRUE(function->dma().write(GuestPhys(0x2008), bytes));
  EXPECT_NE(ram->code_page(GuestPhys(0x2000)).generation.load(), generation);
}

TEST_F(PciFunction, MsixIsEnabledByItsCapability) {
  const auto function = make();
  place(*function);
  const u64 table = kMemoryAt + 0x10000;
  mmio.write(table + 16, 4, 0xfee0'1000);
  mmio.write(table + 24, 4, 0x55);
  mmio.write(table + 28, 4, 0);
  function->msix()->raise(1);
  EXPECT_TRUE(msi.messages.empty());
  const unsigned control = function->read_config(pci::kCapabilities, 1) + 2;
  function->write_config(control, 2, 0x8000);
  function->msix()->raise(1);
  ASSERT_EQ(msi.messages.size(), 1u);
  EXPECT_EQ(msi.messages[0].data, 0x55u);
}

TEST_F(PciFunction, ErrorBitsAreClearedByWritingOne) {
  const auto function = make();
  pci::FunctionState state = function->function_state();
  state.config[pci::kStatus + 1] |= 0x20;  // received master abort
  TestFunction restored(*this, state);
  EXPECT_EQ(restored.read_config(pci::kStatus, 2) & 0x2000, 0x2000u);
  restored.write_config(pci::kStatus, 2, 0x2000);
  EXPECT_EQ(restored.read_config(pci::kStatus, 2) & 0x2000, 0u);
}

TEST_F(PciFunction, ComesBackAsItWasSaved) {
  auto first = make();
  place(*first);
  first->set_interrupt(true);
  const auto state = first->function_state();
  test::PciBoard other;
  TestFunction second(other, state);
  other.bus.add(kSlot, second);
  EXPECT_EQ(other.mmio.read(kMemoryAt, 1), 0x11u);
  EXPECT_EQ(other.ports.read(kIoAt, 1), 0x11u);
  EXPECT_TRUE(other.wires.level[pci::pirq_of(3, 1)]);
  EXPECT_TRUE(second.dma().enabled());
  EXPECT_EQ(second.function_state().config, state.config);
}

TEST_F(PciFunction, AHostileStateChangesOnlyWhatSoftwareCould) {
  pci::FunctionState state;
  state.config.assign(256, 0xff);
  const auto function = make(state);
  EXPECT_EQ(function->read_config(0, 4), 0x5678'1234u);
  EXPECT_EQ(function->read_config(pci::kCapabilities, 1), 0x40u);
  state.config.assign(3, 0xff);
  TestFunction fresh(*this, state);
  EXPECT_EQ(fresh.read_config(pci::kCommand, 2), 0u);
}

}  // namespace
}  // namespace vellum
