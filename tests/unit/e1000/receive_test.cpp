#include "fixture.hpp"

namespace vellum {
namespace {

using namespace e1000;
using net::Bytes;
using E1000Receive = test::E1000;

constexpr u32 kControl = kRxEnable | kBroadcasts | kStripCrc;

TEST_F(E1000Receive, StoresAFrame) {
  start_receiver();
  set(kIms, kRxTimer);
  const Bytes frame = frame_to(kMac);
  receive(frame);
  EXPECT_EQ(rx_bytes(0, frame.size()), frame);
  EXPECT_EQ(rx_length(0), frame.size());
  EXPECT_EQ(rx_status(0), kDone | kRxEndOfPacket | kIgnoreChecksums);
  EXPECT_EQ(get(kRdh), 1u);
  EXPECT_TRUE(interrupt());
  EXPECT_EQ(get(kIcr), kRxTimer | kLinkChange);
}

TEST_F(E1000Receive, PadsAndGivesTheCheckSequence) {
  start_receiver(kRxEnable);
  receive(frame_to(kMac, 10));
  EXPECT_EQ(rx_length(0), 64);
  // All ones' complement of the remainder over a frame with its check sequence is this (IEEE 802.3 §3.2.9).
  const Bytes stored = rx_bytes(0, 64);
  u32 crc = ~u32{0};
  for (const u8 byte : stored) {
    crc ^= byte;
    for (int n = 0; n < 8; ++n) crc = crc >> 1 ^ (0xedb88320 & (0 - (crc & 1)));
  }
  EXPECT_EQ(crc, 0xdebb20e3);
}

TEST_F(E1000Receive, SpreadsAFrameOverBuffers) {
  start_receiver(kControl | 3 << 16);  // of 256 bytes
  const Bytes frame = frame_to(kMac, 586);
  receive(frame);
  EXPECT_EQ(rx_length(0), 256);
  EXPECT_EQ(rx_status(0), kDone);
  EXPECT_EQ(rx_length(2), 600 - 512);
  EXPECT_EQ(rx_status(2) & kRxEndOfPacket, kRxEndOfPacket);
  EXPECT_EQ(rx_bytes(2, 88), Bytes(frame.end() - 88, frame.end()));
  EXPECT_EQ(rx_status(3), 0);
}

TEST_F(E1000Receive, LongFramesAreForWhoAsksForThem) {
  start_receiver(kControl | kBufferExtension | 3 << 16, 4096);
  receive(frame_to(kMac, 8000));
  const u32 before = get(kRdh);
  set(kRctl, kControl | kBufferExtension | kLongPackets | 3 << 16);
  receive(frame_to(kMac, 8000));
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(get(kRoc), 1u);
  EXPECT_EQ(rx_length(0), 4096);
  EXPECT_EQ(rx_length(1), 8014 - 4096);
}

TEST_F(E1000Receive, TakesWhatIsForItAlone) {
  start_receiver();
  receive(frame_to(kPeer));
  receive(frame_to(net::kBroadcast));
  receive(frame_to({1, 0, 0x5e, 0, 0, 1}));
  EXPECT_EQ(get(kRdh), 1u);
  EXPECT_EQ(get(kBprc), 1u);
  EXPECT_EQ(get(kTpr), 3u);
}

TEST_F(E1000Receive, PromiscuousModesTakeTheRest) {
  start_receiver(kControl | kUnicastAll | kMulticastAll);
  receive(frame_to(kPeer));
  receive(frame_to({1, 0, 0x5e, 0, 0, 1}));
  EXPECT_EQ(get(kRdh), 2u);
  EXPECT_EQ(rx_status(0) & kPassedInexact, kPassedInexact);
}

TEST_F(E1000Receive, FurtherAddressesAreExact) {
  start_receiver();
  set(kRal + 8 * 15, 0x0900'5452);
  set(kRal + 8 * 15 + 4, kAddressValid | 0x0909);
  receive(frame_to(kPeer));
  EXPECT_EQ(get(kRdh), 1u);
  EXPECT_EQ(rx_status(0) & kPassedInexact, 0);
}

TEST_F(E1000Receive, TheMulticastTableIsByTwelveBits) {
  start_receiver();
  // Bits 47 to 36 of 01:00:5e:00:12:34 are 0x341: word 26, bit 1.
  set(kMta + 4 * 26, 1 << 1);
  receive(frame_to({1, 0, 0x5e, 0, 0x12, 0x34}));
  receive(frame_to({1, 0, 0x5e, 0, 0x22, 0x34}));
  EXPECT_EQ(get(kRdh), 1u);
  EXPECT_EQ(rx_status(0) & kPassedInexact, kPassedInexact);
}

TEST_F(E1000Receive, VlansAreFilteredAndStripped) {
  start_receiver(kControl | kVlanFilter);
  set(kCtrl, get(kCtrl) | kVlanMode);
  set(kVfta + 4 * 3, 1 << 4);  // VLAN 100
  const Bytes frame = frame_to(kMac);
  receive(tagged(frame, 101));
  receive(tagged(frame, 0x6000 | 100));
  EXPECT_EQ(get(kRdh), 1u);
  EXPECT_EQ(rx_bytes(0, frame.size()), frame);
  EXPECT_EQ(rx_length(0), frame.size());
  EXPECT_EQ(rx_special(0), 0x6000 | 100);
  EXPECT_EQ(rx_status(0) & kRxVlan, kRxVlan);
}

TEST_F(E1000Receive, TagsStayWithoutVlanMode) {
  start_receiver();
  const Bytes frame = tagged(frame_to(kMac), 7);
  receive(frame);
  EXPECT_EQ(rx_bytes(0, frame.size()), frame);
  EXPECT_EQ(rx_status(0) & kRxVlan, 0);
}

Bytes tcp_for_the_card() {
  Bytes frame = net::tcp4(200, 0);
  std::ranges::copy(test::E1000::kMac, frame.begin());
  return frame;
}

TEST_F(E1000Receive, JudgesSums) {
  start_receiver();
  set(kRxcsum, kIpChecksums | kTransportChecksums);
  Bytes frame = tcp_for_the_card();
  receive(frame, net::tcp4_checksum());  // which completes it
  receive(frame);                        // which does not
  frame[24] ^= 1;
  receive(frame);
  EXPECT_EQ(rx_status(0), kDone | kRxEndOfPacket | kIpChecked | kTransportChecked);
  EXPECT_EQ(rx_errors(0), 0);
  EXPECT_EQ(rx_errors(1), kTransportError);
  EXPECT_EQ(rx_errors(2), kTransportError | kIpError);
}

TEST_F(E1000Receive, CompletesSumsThatThePeerLeft) {
  start_receiver();
  receive(tcp_for_the_card(), net::tcp4_checksum());
  const Bytes stored = rx_bytes(0, 254);
  EXPECT_EQ(net::transport_checksum_right(stored, *net::parse_packet(stored)), true);
}

TEST_F(E1000Receive, SumsThePacketFromWhereItIsTold) {
  start_receiver();
  set(kRxcsum, 14);
  const Bytes frame = frame_to(kMac);
  receive(frame);
  net::ChecksumSum sum;
  sum.add(std::span(frame).subspan(14));
  EXPECT_EQ(rx_sum(0), sum.checksum());
}

TEST_F(E1000Receive, TheNetworkWaitsWhileThereIsNoBuffer) {
  start_receiver();
  set(kRdt, 0);
  network->waiting.push_back(frame_to(kMac));
  network->receiver_ready();
  const unsigned told = network->told;
  set(kRdt, 5);
  EXPECT_EQ(network->told, told + 1);
  EXPECT_EQ(get(kRdh), 1u);
}

TEST_F(E1000Receive, TheNetworkWaitsForABusMaster) {
  start_receiver();
  card->write_config(pci::kCommand, 2, pci::kMemoryEnable);
  network->waiting.push_back(frame_to(kMac));
  network->receiver_ready();
  const u32 before = get(kRdh);
  card->write_config(pci::kCommand, 2, pci::kMemoryEnable | pci::kMasterEnable);
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(get(kRdh), 1u);
}

TEST_F(E1000Receive, AFrameWithoutABufferIsAnOverrun) {
  start_receiver();
  set(kRdt, 0);
  receive(frame_to(kMac));
  EXPECT_EQ(get(kMpc), 1u);
  EXPECT_EQ(get(kIcr) & (kRxOverrun | kRxTimer), kRxOverrun);
}

TEST_F(E1000Receive, SaysWhenHalfOfTheRingIsLeft) {
  start_receiver();
  for (unsigned n = 0; n < 6; ++n) receive(frame_to(kMac));
  const u32 before = get(kIcr);
  receive(frame_to(kMac));
  const u32 then = get(kIcr);
  receive(frame_to(kMac));
  EXPECT_EQ(before & kRxThreshold, 0u);
  EXPECT_EQ(then & kRxThreshold, kRxThreshold);
  EXPECT_EQ(get(kIcr) & kRxThreshold, 0u);
}

TEST_F(E1000Receive, IsConnectedWhileItReceives) {
  const auto before = network->receiver;
  start_receiver();
  const auto during = network->receiver;
  set(kRctl, 0);
  EXPECT_EQ(before, nullptr);
  EXPECT_NE(during, nullptr);
  EXPECT_EQ(network->receiver, nullptr);
}

TEST_F(E1000Receive, ABufferOutsideOfRamTakesNothing) {
  start_receiver();
  store<u64>(kRxRing, u64{1} << 52);
  receive(frame_to(kMac));
  receive(frame_to(kMac));
  EXPECT_EQ(rx_status(0) & kDone, kDone);
  EXPECT_EQ(rx_length(1), 114);
}

TEST_F(E1000Receive, ARingThatIsNoneTakesNothing) {
  start_receiver();
  set(kRdh, 0xffff);
  receive(frame_to(kMac));
  set(kRdh, 0);
  set(kRdt, 0xffff);
  receive(frame_to(kMac));
  set(kRdbal + kRingLength, 0);
  receive(frame_to(kMac));
  EXPECT_EQ(get(kMpc), 3u);
  EXPECT_FALSE(network->receiver->has_room());
}

}  // namespace
}  // namespace vellum
