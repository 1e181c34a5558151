#include "fixture.hpp"

namespace vellum {
namespace {

using namespace e1000;
using E1000Registers = test::E1000;

u16 phy_read(test::E1000& rig, u32 number) {
  rig.set(kMdic, kMdicRead | 1 << 21 | number << 16);
  return static_cast<u16>(rig.get(kMdic));
}

TEST_F(E1000Registers, TheFunctionIsAn82540em) {
  EXPECT_EQ(card->read_config(pci::kVendorId, 4), 0x100e'8086u);
  EXPECT_EQ(card->read_config(pci::kClassCode, 2), 0x0000u);
  EXPECT_EQ(card->read_config(pci::kClassCode + 2, 1), 0x02u);
  EXPECT_EQ(card->read_config(pci::kInterruptPin, 1), 1u);
  card->write_config(pci::kBar0, 4, ~u32{0});
  card->write_config(pci::kBar0 + 4, 4, ~u32{0});
  EXPECT_EQ(card->read_config(pci::kBar0, 4), 0xfffe'0000u);
  EXPECT_EQ(card->read_config(pci::kBar0 + 4, 4), 0xffff'ffc1u);
}

TEST_F(E1000Registers, TheLinkIsUp) {
  EXPECT_EQ(get(kStatus), 0x283u);
  EXPECT_EQ(phy_read(*this, 1) & 0x24, 0x24);
}

TEST_F(E1000Registers, ACardWithoutACableHasNoLink) {
  Controller bare(board->bus, clock, IoContext{loop.get(), true}, std::make_shared<net::NullNetwork>(), kMac);
  board->bus.add(pci::devfn(4, 0), bare);
  bare.write_config(pci::kBar0, 4, kBase + kMemorySize);
  bare.write_config(pci::kCommand, 2, pci::kMemoryEnable);
  EXPECT_EQ(get(kMemorySize + kStatus) & kStatusLinkUp, 0u);
}

TEST_F(E1000Registers, TheLinkGoesWithThePhysPower) {
  set(kIms, kLinkChange);
  (void)get(kIcr);
  set(kMdic, kMdicWrite | 1 << 21 | 0x0800);
  EXPECT_EQ(get(kStatus) & kStatusLinkUp, 0u);
  EXPECT_TRUE(interrupt());
}

TEST_F(E1000Registers, NegotiatingAnewIsAChangeOfTheLink) {
  (void)get(kIcr);
  set(kMdic, kMdicWrite | 1 << 21 | 0x1340);
  EXPECT_EQ(get(kIcr), kLinkChange);
  EXPECT_EQ(phy_read(*this, 0), 0x1140);
}

TEST_F(E1000Registers, AnotherPhyIsAnError) {
  set(kMdic, kMdicRead | 2 << 21 | kMdicInterrupt);
  EXPECT_EQ(get(kMdic) & (kMdicReady | kMdicError), kMdicReady | kMdicError);
  EXPECT_EQ(get(kIcr) & kMdioDone, kMdioDone);
}

TEST_F(E1000Registers, TheAddressComesFromTheEeprom) {
  EXPECT_EQ(get(kRal), 0x0100'5452u);
  EXPECT_EQ(get(kRal + 4), kAddressValid | 0x0302);
}

TEST_F(E1000Registers, PortsLeadToRegisters) {
  board->ports.write(kPorts, 4, kVet);
  board->ports.write(kPorts + 4, 4, 0x1'88a8);
  EXPECT_EQ(board->ports.read(kPorts, 4), kVet);
  EXPECT_EQ(board->ports.read(kPorts + 4, 4), 0x88a8u);
  EXPECT_EQ(get(kVet), 0x88a8u);
}

TEST_F(E1000Registers, WhatIsNotThereIsZero) {
  set(0x1fffc, 5);
  set(0x5ffc, 5);
  EXPECT_EQ(get(0x1fffc), 0u);
  EXPECT_EQ(get(0x5ffc), 0u);
  EXPECT_EQ(board->mmio.read(kBase + kVet, 8), 0x8100u);
  EXPECT_EQ(board->mmio.read(kBase + kVet + 1, 1), 0x81u);
}

TEST_F(E1000Registers, CausesAreMaskedAndClearedByReading) {
  (void)get(kIcr);
  set(kIcs, kRxTimer);
  const bool masked = interrupt();
  set(kIms, kRxTimer);
  const bool unmasked = interrupt();
  set(kImc, kRxTimer);
  EXPECT_FALSE(masked);
  EXPECT_TRUE(unmasked);
  EXPECT_FALSE(interrupt());
  EXPECT_EQ(get(kIcr), kRxTimer);
  EXPECT_EQ(get(kIcr), 0u);
}

TEST_F(E1000Registers, InterruptsAreThrottled) {
  set(kItr, 1000);
  set(kIms, kRxTimer);
  set(kIcs, kRxTimer);
  const bool first = interrupt();
  (void)get(kIcr);
  set(kIcs, kRxTimer);
  const bool too_early = interrupt();
  clock.skip_to(256'000);
  clock.run_expired();
  EXPECT_TRUE(first);
  EXPECT_FALSE(too_early);
  EXPECT_TRUE(interrupt());
}

TEST_F(E1000Registers, StatisticsAreClearedByReading) {
  start_receiver();
  receive(frame_to(kMac));
  EXPECT_EQ(get(kGprc), 1u);
  EXPECT_EQ(get(kGprc), 0u);
  EXPECT_EQ(get(kGorcl), 118u);
  EXPECT_EQ(get(kGorcl), 118u);
  EXPECT_EQ(get(kGorcl + 4), 0u);
  EXPECT_EQ(get(kGorcl), 0u);
}

TEST_F(E1000Registers, AResetRestoresEverything) {
  const u32 control = get(kCtrl);
  start_receiver();
  start_transmitter();
  set(kIms, kAllCauses);
  set(kRal, 5);
  set(kMta, 5);
  send({legacy(kTxData, 60, 0)});
  set(kCtrl, kReset);
  EXPECT_EQ(get(kCtrl), control);
  EXPECT_EQ(get(kRctl), 0u);
  EXPECT_EQ(get(kTdt), 0u);
  EXPECT_EQ(get(kIms), 0u);
  EXPECT_EQ(get(kRal), 0x0100'5452u);
  EXPECT_EQ(get(kMta), 0u);
  EXPECT_FALSE(interrupt());
  EXPECT_EQ(network->receiver, nullptr);
  // The half of a packet has gone.
  start_transmitter();
  send({legacy(kTxData, 60)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].bytes.size(), 60u);
}

TEST_F(E1000Registers, OnlyWritableBitsAreWritten) {
  for (const auto& [offset, bits] :
       std::initializer_list<std::pair<u32, u32>>{{kTdbal, 0xffff'fff0},
                                                  {kRdbal + kRingLength, 0xf'ff80},
                                                  {kRdt, 0xffff},
                                                  {kFcrth, 0xfff8},
                                                  {kTipg, 0x3fff'ffff},
                                                  {kRal + 8 + 4, 0x8003'ffff},
                                                  {kGprc, 0}}) {
    set(offset, ~u32{0});
    EXPECT_EQ(get(offset), bits) << offset;
  }
}

}  // namespace
}  // namespace vellum
