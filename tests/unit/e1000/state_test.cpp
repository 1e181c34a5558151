#include <algorithm>

#include "fixture.hpp"

namespace vellum {
namespace {

using namespace e1000;
using net::Bytes;
using E1000State = test::E1000;

TEST_F(E1000State, HalfAPacketIsSaved) {
  start_transmitter();
  const Bytes frame = frame_to(kPeer, 200);
  put(kTxData, frame);
  send({legacy(kTxData, 100, 0)});
  save_and_restore();
  send({legacy(kTxData + 100, frame.size() - 100)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].bytes, frame);
}

TEST_F(E1000State, HalfAPacketToBeCutIsSavedWithItsContext) {
  start_transmitter();
  Bytes frame = net::tcp4(3000, 0x99);  // CWR: the card cuts it
  const auto packet = net::parse_packet(frame);
  store_be16(&frame[50], net::pseudo_header(frame, *packet, 0).folded());
  store_be16(&frame[24], 0);
  put(kTxData, frame);
  send({context(kContextTcp | kContextIpv4 | kSegmentation, 1000),
        data(kTxData, 1500, kSegmentation, kInsertIp | kInsertTransport)});
  save_and_restore();
  send({data(kTxData + 1500, 1554, kTxCommand | kSegmentation)});
  ASSERT_EQ(network->sent.size(), 3u);
  const Bytes& last = network->sent[2].bytes;
  EXPECT_EQ(net::transport_checksum_right(last, *net::parse_packet(last)), true);
  EXPECT_EQ(last[47], 0x99);
}

TEST_F(E1000State, WhatWaitsInTheRingIsSentAfterwards) {
  start_transmitter();
  card->quiesce();
  put(kTxData, frame_to(kPeer));
  send({legacy(kTxData, 114)});
  const std::size_t before = network->sent.size();
  save_and_restore();
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(network->sent.size(), 1u);
}

TEST_F(E1000State, RegistersAndReceptionGoOn) {
  start_receiver();
  set(kIms, kRxTimer);
  set(kRxcsum, kIpChecksums);
  receive(frame_to(kMac));
  const bool before = interrupt();
  save_and_restore();
  receive(frame_to(kMac));
  EXPECT_TRUE(before);
  EXPECT_TRUE(interrupt());
  EXPECT_EQ(get(kRdh), 2u);
  EXPECT_EQ(get(kRxcsum), kIpChecksums);
  EXPECT_EQ(get(kGprc), 2u);
  EXPECT_EQ(get(kIcr), kRxTimer | kLinkChange);
  EXPECT_FALSE(interrupt());
}

TEST_F(E1000State, NothingIsReceivedWhileItIsSaved) {
  start_receiver();
  card->quiesce();
  network->waiting.push_back(frame_to(kMac));
  network->receiver_ready();
  const u32 before = get(kRdh);
  card->resume();
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(get(kRdh), 1u);
}

TEST_F(E1000State, AnInterruptThatIsHeldBackIsSaved) {
  set(kItr, 1000);
  set(kIms, kRxTimer);
  set(kIcs, kRxTimer);
  (void)get(kIcr);
  set(kIcs, kRxTimer);
  save_and_restore();
  const bool early = interrupt();
  clock.skip_to(256'000);
  clock.run_expired();
  EXPECT_FALSE(early);
  EXPECT_TRUE(interrupt());
}

TEST_F(E1000State, TheEepromAndThePhyAreSavedInMidCommand) {
  set(kMdic, kMdicWrite | 1 << 21 | 4 << 16 | 0x0101);
  for (const u32 in : {4u, 4u, 0u, 0u, 0u, 0u, 0u, 0u, 0u}) set(kEecd, 2 | in), set(kEecd, 3 | in);
  save_and_restore();
  u32 word = 0;
  for (unsigned n = 0; n < 16; ++n) {
    set(kEecd, 2), set(kEecd, 3);
    word = word << 1 | (get(kEecd) >> 3 & 1);
  }
  set(kMdic, kMdicRead | 1 << 21 | 4 << 16);
  EXPECT_EQ(word, 0x5452u);
  EXPECT_EQ(get(kMdic) & 0xffff, 0x0101u);
}

TEST_F(E1000State, ADamagedStateIsMadeUseOf) {
  insert({});
  const auto fresh = decode_state<Controller::State>(card->save());
  ASSERT_TRUE(fresh);
  Controller::State state;
  state.registers.assign(5, ~u32{0});
  state.eeprom.bits = 200;
  state.eeprom.address = 255;
  state.transmitter.packet.resize(200'000);
  state.interrupts.causes = state.interrupts.mask = ~u32{0};
  state.interrupts.not_before_ns = ~u64{0};
  insert(state);
  const auto saved = decode_state<Controller::State>(card->save());
  ASSERT_TRUE(saved);
  EXPECT_TRUE(saved->transmitter.packet.empty());
  EXPECT_EQ(saved->interrupts.mask, kAllCauses);
  EXPECT_LT(saved->eeprom.address, 64);
  EXPECT_TRUE(std::equal(fresh->registers.begin(), fresh->registers.begin() + 5, saved->registers.begin()))
      << "those of another table are no registers of ours";
}

}  // namespace
}  // namespace vellum
