#include "fixture.hpp"

namespace vellum {
namespace {

using namespace e1000;
using net::Bytes;
using E1000Transmit = test::E1000;

/// TCP over IPv4 as a driver leaves it to be cut: no lengths, no sums but that of the pseudo header without
/// its length.
Bytes tcp4_to_cut(std::size_t payload, u8 flags) {
  Bytes frame = net::tcp4(payload, flags);
  const auto packet = net::parse_packet(frame);
  store_be16(&frame[50], net::pseudo_header(frame, *packet, 0).folded());
  store_be16(&frame[16], 0);
  store_be16(&frame[24], 0);
  return frame;
}

Bytes tcp6_to_cut(std::size_t payload) {
  Bytes frame = net::tcp6(payload);
  const auto packet = net::parse_packet(frame);
  store_be16(&frame[70], net::pseudo_header(frame, *packet, 0).folded());
  store_be16(&frame[18], 0);
  return frame;
}

void expect_right_sums(const Bytes& frame) {
  const auto packet = net::parse_packet(frame);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(net::ipv4_checksum_right(frame, *packet));
  EXPECT_EQ(net::transport_checksum_right(frame, *packet), true);
}

TEST_F(E1000Transmit, SendsAFrameInPieces) {
  start_transmitter();
  const Bytes frame = net::tcp4(200, 0);
  put(kTxData, frame);
  send({legacy(kTxData, 20, 0), legacy(kTxData + 20, 100, 0), legacy(kTxData + 120, frame.size() - 120)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].bytes, frame);
  EXPECT_EQ(get(kTdh), 3u);
  EXPECT_EQ(tx_status(0) & kDone, 0);
  EXPECT_EQ(tx_status(2) & kDone, kDone);
}

TEST_F(E1000Transmit, SaysWhenADescriptorIsWrittenBack) {
  start_transmitter();
  set(kIms, kTxDescriptorWritten);
  send({legacy(kTxData, 60)});
  EXPECT_TRUE(interrupt());
  EXPECT_EQ(get(kIcr), kTxDescriptorWritten | kTxQueueEmpty | kLinkChange);
  EXPECT_FALSE(interrupt());
}

TEST_F(E1000Transmit, WaitsUntilItIsEnabled) {
  start_transmitter(0);
  send({legacy(kTxData, 60)});
  const std::size_t before = network->sent.size();
  set(kTctl, kTxEnable);
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(network->sent.size(), 1u);
}

TEST_F(E1000Transmit, WaitsUntilItIsBusMaster) {
  start_transmitter();
  card->write_config(pci::kCommand, 2, pci::kMemoryEnable);
  send({legacy(kTxData, 60)});
  const std::size_t before = network->sent.size();
  card->write_config(pci::kCommand, 2, pci::kMemoryEnable | pci::kMasterEnable);
  EXPECT_EQ(before, 0u);
  EXPECT_EQ(network->sent.size(), 1u);
}

TEST_F(E1000Transmit, PadsShortFrames) {
  start_transmitter(kTxEnable | kPadShort);
  put(kTxData, frame_to(kPeer, 10));
  send({legacy(kTxData, 24)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].bytes.size(), 60u);
  EXPECT_EQ(network->sent[0].bytes[59], 0);
}

TEST_F(E1000Transmit, TakesACheckSequenceFromTheDriver) {
  start_transmitter();
  Bytes frame = frame_to(kPeer, 46);
  put(kTxData, frame);
  // Of these sixty bytes (IEEE 802.3 §3.2.9), least significant byte first.
  const Bytes fcs{0xe2, 0x09, 0x12, 0x6f};
  put(kTxData + 60, fcs);
  send({legacy(kTxData, 64, kEndOfPacket)});
  store<u8>(kTxData + 63, 0x6e);
  send({legacy(kTxData, 64, kEndOfPacket)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].bytes, frame);
}

TEST_F(E1000Transmit, ALegacyDescriptorsSum) {
  start_transmitter();
  const Bytes frame = net::tcp4(200, 0);
  put(kTxData, frame);
  // Where is said by the first descriptor, and that by the last.
  Descriptor first = legacy(kTxData, 60, 0);
  first.second |= u64{50} << 16 | u64{34} << 40;
  send({first, legacy(kTxData + 60, frame.size() - 60, kTxCommand | kChecksum)});
  ASSERT_EQ(network->sent.size(), 1u);
  expect_right_sums(network->sent[0].bytes);
}

TEST_F(E1000Transmit, SumsOutsideOfThePacketAreIgnored) {
  start_transmitter();
  const Bytes frame = net::tcp4(100, 0);
  put(kTxData, frame);
  Descriptor d = legacy(kTxData, frame.size(), kTxCommand | kChecksum);
  d.second |= u64{153} << 16 | u64{34} << 40;  // one byte of it would be outside
  send({d});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].bytes, frame);
}

TEST_F(E1000Transmit, LeavesTheTransportsSumToTheNetwork) {
  start_transmitter();
  Bytes frame = net::tcp4(200, 0);
  store_be16(&frame[24], 0);
  put(kTxData, frame);
  send({context(kContextTcp | kContextIpv4),
        data(kTxData, frame.size(), kTxCommand, kInsertIp | kInsertTransport)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_TRUE(network->sent[0].offload.needs_checksum);
  EXPECT_EQ(network->sent[0].offload.checksum_start, 34);
  EXPECT_EQ(network->sent[0].offload.checksum_offset, 16);
  EXPECT_EQ(network->sent[0].bytes, net::tcp4(200, 0));
}

TEST_F(E1000Transmit, ComputesASumOverAPartItself) {
  start_transmitter();
  Bytes frame = net::tcp4(200, 0);
  const auto packet = net::parse_packet(frame);
  frame.insert(frame.end(), {0xab, 0xcd});  // behind the IP packet
  put(kTxData, frame);
  const u64 end = packet->end - 1;
  send({context(kContextTcp | kContextIpv4, 0, 54, kTcp4 | end << 48),
        data(kTxData, frame.size(), kTxCommand, kInsertTransport)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_FALSE(network->sent[0].offload.needs_checksum);
  expect_right_sums(network->sent[0].bytes);
}

TEST_F(E1000Transmit, InsertsAVlanTag) {
  start_transmitter();
  set(kCtrl, get(kCtrl) | kVlanMode);
  const Bytes frame = frame_to(kPeer);
  put(kTxData, frame);
  send({legacy(kTxData, frame.size(), kTxCommand | kVlanTag, 0x2345)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].bytes, tagged(frame, 0x2345));
}

TEST_F(E1000Transmit, ATagMovesTheSumThatTheNetworkMakes) {
  network->offloads = net::Offloads::kNone;
  start_transmitter();
  set(kCtrl, get(kCtrl) | kVlanMode);
  put(kTxData, net::tcp4(200, 0));
  send({context(kContextTcp | kContextIpv4), data(kTxData, 254, kTxCommand | kVlanTag, kInsertTransport, 5)});
  ASSERT_EQ(network->sent.size(), 1u);
  expect_right_sums(network->sent[0].bytes);
}

TEST_F(E1000Transmit, HandsALargePacketOnInOnePiece) {
  start_transmitter();
  const Bytes frame = tcp4_to_cut(5000, 0x18);
  put(kTxData, frame);
  send({context(kContextTcp | kContextIpv4 | kSegmentation, 1448),
        data(kTxData, 54, kSegmentation, kInsertIp | kInsertTransport),
        data(kTxData + 54, 5000, kTxCommand | kSegmentation)});
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].offload.gso, net::Gso::kTcp4);
  EXPECT_EQ(network->sent[0].offload.gso_size, 1448);
  EXPECT_EQ(network->sent[0].bytes, net::tcp4(5000, 0x18));
}

TEST_F(E1000Transmit, ALargePacketIsTheSameInPieces) {
  network->offloads = net::Offloads::kNone;
  start_transmitter();
  put(kTxData, tcp4_to_cut(5000, 0x19));
  send({context(kContextTcp | kContextIpv4 | kSegmentation, 1448),
        data(kTxData, 5054, kTxCommand | kSegmentation, kInsertIp | kInsertTransport)});
  ASSERT_EQ(network->sent.size(), 4u);
  const Bytes& second = network->sent[1].bytes;
  expect_right_sums(second);
  EXPECT_EQ(second.size(), 54u + 1448);
  EXPECT_EQ(load_be32(&second[38]), 0xfffffff0 + 1448);
  EXPECT_EQ(load_be16(&second[18]), 0xffff);
  EXPECT_EQ(second[47], 0x10);
  EXPECT_EQ(network->sent[3].bytes[47], 0x19);
}

TEST_F(E1000Transmit, CutsByItselfWhatNoNetworkUnderstands) {
  start_transmitter();
  // CWR, which belongs into each piece here.
  put(kTxData, tcp4_to_cut(5000, 0x99));
  send({context(kContextTcp | kContextIpv4 | kSegmentation, 1448),
        data(kTxData, 5054, kTxCommand | kSegmentation, kInsertIp | kInsertTransport)});
  ASSERT_EQ(network->sent.size(), 4u);
  for (const auto& sent : network->sent) expect_right_sums(sent.bytes);
  EXPECT_EQ(network->sent[0].bytes[47], 0x90);
  EXPECT_EQ(load_be16(&network->sent[2].bytes[18]), 0);  // 0xfffe, and two more
  EXPECT_EQ(load_be32(&network->sent[2].bytes[38]), 0xfffffff0u + 2 * 1448);
  EXPECT_EQ(network->sent[3].bytes.size(), 54u + 5000 - 3 * 1448);
  EXPECT_EQ(network->sent[3].bytes[47], 0x99);
}

TEST_F(E1000Transmit, CutsIpv6) {
  network->offloads = net::Offloads::kNone;
  start_transmitter();
  put(kTxData, tcp6_to_cut(3000));
  send({context(kContextTcp | kSegmentation, 1400, 74, kTcp6),
        data(kTxData, 3074, kTxCommand | kSegmentation, kInsertTransport)});
  ASSERT_EQ(network->sent.size(), 3u);
  const Bytes& last = network->sent[2].bytes;
  EXPECT_EQ(load_be16(&last[18]), 20 + 200);
  EXPECT_EQ(net::transport_checksum_right(last, *net::parse_packet(last)), true);
}

TEST_F(E1000Transmit, CutsUdpWithEachItsLength) {
  start_transmitter();
  Bytes frame = tcp4_to_cut(1000, 0);
  frame[23] = net::kProtocolUdp;
  put(kTxData, frame);
  send({context(kContextIpv4 | kSegmentation, 400, 42,
                14 | 24 << 8 | 33 << 16 | u64{34} << 32 | u64{40} << 40),
        data(kTxData, 942, kTxCommand | kSegmentation, kInsertIp)});
  ASSERT_EQ(network->sent.size(), 3u);
  EXPECT_EQ(load_be16(&network->sent[0].bytes[38]), 408);
  EXPECT_EQ(load_be16(&network->sent[2].bytes[38]), 108);
}

TEST_F(E1000Transmit, MoreThanIsCollectedGoesInTurns) {
  start_transmitter();
  put(kTxData, tcp4_to_cut(60000, 0x18));
  send({context(kContextTcp | kContextIpv4 | kSegmentation, 1448),
        data(kTxData, 60054, kSegmentation, kInsertIp | kInsertTransport),
        data(kTxData + 54, 60000, kTxCommand | kSegmentation)});
  ASSERT_EQ(network->sent.size(), (120000u + 1447) / 1448);
  for (const auto& sent : network->sent) expect_right_sums(sent.bytes);
  const Bytes& last = network->sent.back().bytes;
  EXPECT_EQ(load_be32(&last[38]), 0xfffffff0u + 82 * 1448);
  EXPECT_EQ(last[47], 0x18);
  EXPECT_EQ(network->sent[81].bytes[47], 0x10);
}

TEST_F(E1000Transmit, CountsWhatItSends) {
  start_transmitter();
  put(kTxData, tcp4_to_cut(5000, 0));
  send({context(kContextTcp | kContextIpv4 | kSegmentation, 1448),
        data(kTxData, 5054, kTxCommand | kSegmentation, kInsertIp | kInsertTransport)});
  EXPECT_EQ(get(kTsctc), 1u);
  EXPECT_EQ(get(kGptc), 4u);
  EXPECT_EQ(get(kGotcl), 5000u + 4 * 58);
  EXPECT_EQ(get(kPtc64 + 20), 3u);
  EXPECT_EQ(get(kPtc64 + 16), 1u);
  EXPECT_EQ(get(kGptc), 0u);
}

TEST_F(E1000Transmit, LoopsBackInThePhy) {
  start_transmitter();
  start_receiver();
  set(kMdic, kMdicWrite | 1 << 21 | 0x4140);
  const Bytes frame = frame_to(kMac);
  put(kTxData, frame);
  send({legacy(kTxData, frame.size())});
  EXPECT_TRUE(network->sent.empty());
  EXPECT_EQ(rx_bytes(0, frame.size()), frame);
}

// What a hostile driver does.

TEST_F(E1000Transmit, AHeadOrTailOutsideOfTheRingStopsIt) {
  start_transmitter();
  send({legacy(kTxData, 60)});
  set(kTdt, kRingSize);
  set(kTdt, 0xffff);
  set(kTdh, 0xffff);
  set(kTdt, 3);
  EXPECT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(get(kTdh), 0xffffu);
}

TEST_F(E1000Transmit, ARingOfNoLengthHasNothing) {
  start_transmitter();
  set(kTdbal + kRingLength, 127);
  set(kTdt, 1);
  EXPECT_EQ(get(kTdbal + kRingLength), 0u);
  EXPECT_EQ(get(kTdh), 0u);
}

TEST_F(E1000Transmit, ARingOutsideOfRamStandsStill) {
  start_transmitter();
  set(kTdbal, 0xffff'f000);
  set(kTdbal + kRingBaseHigh, 0xffff'ffff);
  set(kTdt, 5);
  EXPECT_EQ(get(kTdh), 0u);
}

TEST_F(E1000Transmit, ABufferOutsideOfRamLosesItsPacketOnly) {
  start_transmitter();
  send({legacy(0xfff0, 60, 0), legacy(u64{1} << 40, 60), legacy(kTxData, 60)});
  EXPECT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(tx_status(1) & kDone, kDone);
}

TEST_F(E1000Transmit, APacketWithoutAnEndIsDropped) {
  start_transmitter();
  for (unsigned n = 0; n < 40; ++n) send({legacy(kTxData, 0xffff, 0)});
  send({legacy(kTxData, 60), legacy(kTxData, 60)});
  EXPECT_EQ(network->sent.size(), 1u);
}

TEST_F(E1000Transmit, NonsenseToCutIsDropped) {
  start_transmitter();
  put(kTxData, tcp4_to_cut(5000, 0));
  const u8 cut = kContextTcp | kContextIpv4 | kSegmentation;
  const Descriptor packet = data(kTxData, 200, kTxCommand | kSegmentation, kInsertIp | kInsertTransport);
  send({context(cut, 0), packet});          // no segment size
  send({context(cut, 1448, 201), packet});  // more headers than there is packet
  send({context(cut, 1448, 13), packet});   // less than Ethernet's
  send({legacy(kTxData, 60)});
  EXPECT_EQ(network->sent.size(), 1u);
}

TEST_F(E1000Transmit, TinyPiecesAreSentUpToALimit) {
  start_transmitter();
  put(kTxData, tcp4_to_cut(60000, 0x80));
  send({context(kContextTcp | kContextIpv4 | kSegmentation, 1),
        data(kTxData, 60054, kTxCommand | kSegmentation, kInsertIp | kInsertTransport), legacy(kTxData, 60)});
  EXPECT_EQ(network->sent.size(), Transmitter::kMaxPieces + 1);
}

TEST_F(E1000Transmit, OffsetsOutsideOfThePacketDoNothing) {
  start_transmitter();
  put(kTxData, net::tcp4(20, 0));
  const u64 offsets = 250 | 255 << 8 | u64{255} << 32 | u64{254} << 40;
  send({context(kContextTcp | kContextIpv4, 0, 54, offsets),
        data(kTxData, 74, kTxCommand, kInsertIp | kInsertTransport)});
  send({context(kContextTcp | kContextIpv4 | kSegmentation, 10, 60, offsets),
        data(kTxData, 74, kTxCommand | kSegmentation, kInsertIp | kInsertTransport)});
  ASSERT_EQ(network->sent.size(), 3u);
  EXPECT_EQ(network->sent[0].bytes, net::tcp4(20, 0));
}

}  // namespace
}  // namespace vellum
