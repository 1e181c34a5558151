#include "io/net/finish.hpp"

#include "frames.hpp"

namespace vellum::net {
namespace {

std::vector<Bytes> segments_of(const Bytes& frame, const FrameOffload& offload) {
  std::vector<Bytes> segments;
  EXPECT_TRUE(
      segment(frame, offload, [&](std::span<const u8> s) { segments.emplace_back(s.begin(), s.end()); }));
  return segments;
}

TEST(Checksum, OfTheExampleOfRfc1071) {
  const Bytes bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  ChecksumSum sum;
  sum.add(bytes);
  EXPECT_EQ(sum.folded(), 0xddf2);
  EXPECT_EQ(sum.checksum(), 0x220d);
}

TEST(Checksum, OfAnIpv4HeaderFromRealLife) {
  // Published example: 45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7.
  const Bytes header{0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                     0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
  ChecksumSum sum;
  sum.add(header);
  EXPECT_EQ(sum.checksum(), 0xb861);
}

TEST(Checksum, AnOddByteCountsAsIfAZeroFollowed) {
  ChecksumSum odd, even;
  odd.add(Bytes{1, 2, 3});
  even.add(Bytes{1, 2, 3, 0});
  EXPECT_EQ(odd.folded(), even.folded());
}

TEST(Checksum, LongRunsAreAsTheirWordsOneByOne) {
  const Bytes bytes(1501, 0xff);
  ChecksumSum whole, parts;
  whole.add(bytes);
  for (std::size_t at = 0; at < bytes.size(); at += 2)
    parts.add(std::span(bytes).subspan(at, std::min<std::size_t>(2, bytes.size() - at)));
  EXPECT_EQ(whole.folded(), parts.folded());
}

TEST(FinishChecksum, MakesTheReceiverAgree) {
  Bytes frame = tcp4(101, 0x18);
  ASSERT_EQ(transport_checksum_right(frame, *parse_packet(frame)), false);
  finish_checksum(frame, tcp4_checksum());
  EXPECT_EQ(transport_checksum_right(frame, *parse_packet(frame)), true);
}

TEST(Segment, CutsThePayloadAndCompletesEachPiece) {
  const Bytes frame = tcp4(2500, 0x98);  // CWR, PSH, ACK
  const auto segments = segments_of(frame, tcp4_gso(1000));
  ASSERT_EQ(segments.size(), 3u);
  EXPECT_EQ(segments[0].size(), 1054u);
  EXPECT_EQ(segments[2].size(), 554u);
  for (const Bytes& segment : segments) {
    const auto packet = parse_packet(segment);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->end, segment.size());
    EXPECT_TRUE(ipv4_checksum_right(segment, *packet));
    EXPECT_EQ(transport_checksum_right(segment, *packet), true);
  }
  EXPECT_EQ(load_be16(&segments[0][18]), 0xfffe);
  EXPECT_EQ(load_be16(&segments[2][18]), 0x0000);
  EXPECT_EQ(load_be32(&segments[0][38]), 0xfffffff0u);
  EXPECT_EQ(load_be32(&segments[1][38]), 0x000003d8u);
  EXPECT_EQ(segments[0][47], 0x90);  // CWR in the first only, PSH in the last only
  EXPECT_EQ(segments[1][47], 0x10);
  EXPECT_EQ(segments[2][47], 0x18);
  EXPECT_TRUE(std::equal(segments[1].begin() + 54, segments[1].end(), frame.begin() + 1054));
}

TEST(Segment, WorksForIpv6) {
  const auto segments = segments_of(tcp6(3000), tcp6_gso(1440));
  ASSERT_EQ(segments.size(), 3u);
  for (const Bytes& segment : segments) {
    const auto packet = parse_packet(segment);
    ASSERT_TRUE(packet);
    EXPECT_EQ(packet->end, segment.size());
    EXPECT_EQ(transport_checksum_right(segment, *packet), true);
  }
}

TEST(Segment, RefusesWhatIsNotWhatItSays) {
  const auto none = [](std::span<const u8>) { FAIL(); };
  const Bytes frame = tcp4(2500, 0x10);
  EXPECT_FALSE(segment(frame, tcp6_gso(1000), none));  // the other family
  FrameOffload elsewhere = tcp4_gso(1000);
  elsewhere.checksum_start = 36;
  EXPECT_FALSE(segment(frame, elsewhere, none));
  EXPECT_FALSE(segment(frame, tcp4_gso(1), none));  // 2500 frames out of one
  Bytes udp = frame;
  udp[23] = kProtocolUdp;
  EXPECT_FALSE(segment(udp, tcp4_gso(1000), none));
  Bytes long_header = frame;
  long_header[46] = 0xf0;
  long_header.resize(54 + 8);
  EXPECT_FALSE(segment(long_header, tcp4_gso(1000), none));
}

TEST(Packet, FindsHeadersBehindTagsAndExtensions) {
  Bytes tagged = tcp4(10, 0x10);
  tagged.insert(tagged.begin() + 12, {0x88, 0xa8, 0x00, 0x05, 0x81, 0x00, 0x00, 0x06});
  EXPECT_EQ(parse_packet(tagged)->transport, 42u);
  Bytes extended = tcp6(10);
  extended[20] = 0;  // hop by hop, 8 bytes
  extended.insert(extended.begin() + 54, {kProtocolTcp, 0, 0, 0, 0, 0, 0, 0});
  store_be16(&extended[18], 38);
  EXPECT_EQ(parse_packet(extended)->transport, 62u);
  EXPECT_EQ(parse_packet(extended)->protocol, kProtocolTcp);
}

TEST(Packet, IsNothingWhenCutShort) {
  const Bytes frame = tcp4(10, 0x10);
  EXPECT_FALSE(parse_packet(std::span(frame).first(13)));
  EXPECT_FALSE(parse_packet(std::span(frame).first(33)));
  EXPECT_FALSE(parse_packet(std::span(frame).first(60)));  // shorter than the IP header says
}

TEST(FrameSink, GetsWhatItUnderstandsAsItIs) {
  RecordingReceiver sink;
  sink.offloads = kAllOffloads;
  put_bytes(sink, tcp4(2500, 0x10), tcp4_gso(1000));
  ASSERT_EQ(sink.got.size(), 1u);
  EXPECT_EQ(sink.got[0].offload.gso, Gso::kTcp4);
  EXPECT_EQ(sink.got[0].bytes, tcp4(2500, 0x10));
}

TEST(FrameSink, GetsTheRestFinished) {
  RecordingReceiver sink;
  sink.offloads = Offloads::kChecksum | Offloads::kTso6;
  put_bytes(sink, tcp4(2500, 0x10), tcp4_gso(1000));
  sink.offloads = Offloads::kNone;
  put_bytes(sink, tcp4(100, 0x10), tcp4_checksum());
  ASSERT_EQ(sink.got.size(), 4u);
  EXPECT_FALSE(sink.got[0].offload.needs_checksum);
  EXPECT_TRUE(sink.got[3].offload.checksum_valid);
  EXPECT_EQ(transport_checksum_right(sink.got[3].bytes, *parse_packet(sink.got[3].bytes)), true);
}

TEST(FrameOffload, MustFitTheFrame) {
  FrameOffload offload = tcp4_checksum();
  EXPECT_TRUE(fits(offload, 54));
  EXPECT_TRUE(fits(offload, 52));
  EXPECT_FALSE(fits(offload, 51));
  EXPECT_FALSE(fits({}, 13));
  EXPECT_FALSE(fits({}, kMaxFrame + 1));
  offload = tcp4_gso(0);
  EXPECT_FALSE(fits(offload, 100));
}

}  // namespace
}  // namespace vellum::net
