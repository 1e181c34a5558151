#include "devices/virtio/net.hpp"

#include "../net/test_network.hpp"
#include "driver.hpp"
#include "io/net/vnet_header.hpp"

namespace vellum {
namespace {

using net::Bytes;
using test::Ring;

constexpr u64 kReceiveRing = 0x10000, kSendRing = 0x20000, kControlRing = 0x30000, kThirdRing = 0x60000,
              kFourthRing = 0x70000, kFifthRing = 0x80000;
constexpr u64 kBuffers = 0xa0000, kBufferSize = 0x800, kFrame = 0x40000, kCommand = 0x50000,
              kAnswer = 0x51000;
// Feature bits of §5.1.3.
constexpr u64 kChecksum = 1 << 0, kGuestChecksum = 1 << 1, kGuestOffloads = 1 << 2, kGuestTso4 = 1 << 7,
              kHostTso4 = 1 << 11, kMergeable = 1 << 15, kControl = 1 << 17, kModes = 1 << 18,
              kMultiQueue = 1 << 22, kSetMac = 1 << 23;
constexpr net::MacAddress kMac{0x52, 0x54, 0, 1, 2, 3}, kPeer{0x52, 0x54, 0, 9, 9, 9};

struct VirtioNet : ::testing::TestWithParam<bool> {
  bool packed() const { return GetParam(); }
  void begin(u64 features, unsigned pairs = 1) {
    card = std::make_unique<virtio::Net>(context, network, kMac, pairs);
    card->connect(transport);
    features |= packed() ? virtio::kRingPacked : 0;
    if (pairs == 2) {
      test::start(*card, features, {&receive, &send, &third, &fourth, &fifth});
    } else {
      test::start(*card, features, {&receive, &send, &control});
    }
  }
  void offer_buffers(Ring& ring, unsigned count, u32 size = kBufferSize) {
    for (unsigned n = 0; n < count; ++n) ring.add({{buffer(offered++), size, true}});
  }
  static u64 buffer(unsigned n) { return kBuffers + n * kBufferSize; }
  void put(u64 at, std::span<const u8> bytes) {
    std::copy(bytes.begin(), bytes.end(), ram->host(GuestPhys(at)));
  }
  Bytes get(u64 at, std::size_t size) const {
    const u8* const from = ram->host(GuestPhys(at));
    return {from, from + size};
  }
  /// The driver sends a frame with a header of 10 bytes and the count.
  void transmit(const net::VnetHeader& header, const Bytes& frame, Ring& ring, unsigned queue) {
    put(kFrame, {reinterpret_cast<const u8*>(&header), sizeof header});
    put(kFrame + 12, frame);
    // In three pieces, the header and the frame's beginning together.
    ring.add({{kFrame, 12 + 20}, {kFrame + 32, 100}, {kFrame + 132, static_cast<u32>(frame.size() - 120)}});
    card->notify(queue);
  }
  u8 command(Ring& ring, unsigned queue, u8 kind, u8 number, const Bytes& data) {
    Bytes bytes{kind, number};
    bytes.insert(bytes.end(), data.begin(), data.end());
    put(kCommand, bytes);
    ring.put<u8>(kAnswer, 0xee);
    ring.add({{kCommand, static_cast<u32>(bytes.size())}, {kAnswer, 1, true}});
    card->notify(queue);
    return ring.get<u8>(kAnswer);
  }
  u8 command(u8 kind, u8 number, const Bytes& data) { return command(control, 2, kind, number, data); }
  bool needs_reset() const { return (card->status() & virtio::kNeedsReset) != 0; }

  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  IoContext context{loop.get(), true};
  test::CountingTransport transport{*ram};
  std::shared_ptr<net::TestNetwork> network = std::make_shared<net::TestNetwork>();
  Ring receive{*ram, kReceiveRing, 64, packed()}, send{*ram, kSendRing, 16, packed()},
      control{*ram, kControlRing, 16, packed()}, third{*ram, kThirdRing, 64, packed()},
      fourth{*ram, kFourthRing, 16, packed()}, fifth{*ram, kFifthRing, 16, packed()};
  unsigned offered = 0;
  std::unique_ptr<virtio::Net> card;
};

INSTANTIATE_TEST_SUITE_P(Rings, VirtioNet, ::testing::Bool(),
                         [](const auto& ring) { return ring.param ? "Packed" : "Split"; });

TEST_P(VirtioNet, SendsAFrameInPieces) {
  begin(0);
  const Bytes frame = net::tcp4(200, 0);
  transmit({}, frame, send, 1);
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].bytes, frame);
  EXPECT_EQ(transport.queue_interrupts, 1u);
  EXPECT_EQ(send.used_length(0), 0u);
}

TEST_P(VirtioNet, HandsOnWhatTheDriverLeavesToIt) {
  begin(kChecksum | kHostTso4);
  transmit(net::to_vnet_header(net::tcp4_gso(1448)), net::tcp4(5000, 0), send, 1);
  ASSERT_EQ(network->sent.size(), 1u);
  EXPECT_EQ(network->sent[0].offload.gso, net::Gso::kTcp4);
  EXPECT_EQ(network->sent[0].offload.gso_size, 1448);
}

TEST_P(VirtioNet, CutsFramesForANetworkThatDoesNot) {
  network->offloads = net::Offloads::kNone;
  begin(kChecksum | kHostTso4);
  transmit(net::to_vnet_header(net::tcp4_gso(1448)), net::tcp4(5000, 0), send, 1);
  ASSERT_EQ(network->sent.size(), 4u);
  const auto packet = net::parse_packet(network->sent[3].bytes);
  EXPECT_EQ(net::transport_checksum_right(network->sent[3].bytes, *packet), true);
}

TEST_P(VirtioNet, DropsFramesWithOffloadsThatWereNotAgreedOn) {
  begin(kChecksum);
  transmit(net::to_vnet_header(net::tcp4_gso(1448)), net::tcp4(5000, 0), send, 1);
  transmit({}, net::tcp4(200, 0), send, 1);
  EXPECT_EQ(network->sent.size(), 1u);
  EXPECT_FALSE(needs_reset());
}

TEST_P(VirtioNet, DropsFramesWhoseChecksumLiesOutside) {
  begin(kChecksum);
  net::VnetHeader header = net::to_vnet_header(net::tcp4_checksum());
  header.checksum_start = 300;
  transmit(header, net::tcp4(200, 0), send, 1);
  EXPECT_TRUE(network->sent.empty());
  EXPECT_FALSE(needs_reset());
}

TEST_P(VirtioNet, AFrameWithoutAHeaderEndsTheDevice) {
  begin(0);
  send.add({{kFrame, 11}});
  card->notify(1);
  EXPECT_TRUE(needs_reset());
  transmit({}, net::tcp4(200, 0), send, 1);
  EXPECT_TRUE(network->sent.empty());
}

TEST_P(VirtioNet, ReceivesIntoOneBuffer) {
  begin(0);
  offer_buffers(receive, 2);
  card->notify(0);
  const Bytes frame = net::tcp4(200, 0);
  net::put_bytes(*network->receiver, frame);
  EXPECT_EQ(receive.used_length(0), 12 + frame.size());
  EXPECT_EQ(get(buffer(0) + 12, frame.size()), frame);
  EXPECT_EQ(get(buffer(0), 12), (Bytes{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0}));
  EXPECT_EQ(transport.queue_interrupts, 1u);
}

TEST_P(VirtioNet, ADriverWithoutChecksumsHearsOfNone) {
  begin(0);
  offer_buffers(receive, 1);
  card->notify(0);
  receive.put<u8>(buffer(0), 0xee);
  net::FrameOffload offload;
  offload.checksum_valid = true;
  net::put_bytes(*network->receiver, net::tcp4(200, 0), offload);
  EXPECT_EQ(receive.get<u8>(buffer(0)), 0);
}

TEST_P(VirtioNet, ADriverWithChecksumsHearsOfRightOnes) {
  begin(kGuestChecksum);
  offer_buffers(receive, 1);
  card->notify(0);
  net::FrameOffload offload;
  offload.checksum_valid = true;
  net::put_bytes(*network->receiver, net::tcp4(200, 0), offload);
  EXPECT_EQ(receive.get<u8>(buffer(0)), net::VnetHeader::kDataValid);
}

TEST_P(VirtioNet, ADriverThatClearsStatusBitsChangesNothing) {
  begin(0);
  offer_buffers(receive, 2);
  card->notify(0);
  const u8 running = card->status();
  card->set_status(virtio::kAcknowledge);
  const u8 cleared = card->status();
  card->set_status(running);  // does not start it once more, which would forget where its rings stand
  net::put_bytes(*network->receiver, net::tcp4(200, 0));
  net::put_bytes(*network->receiver, net::tcp4(201, 0));
  EXPECT_EQ(cleared, running);
  EXPECT_EQ(receive.used_length(1), 12u + 54 + 201);
}

TEST_P(VirtioNet, BuffersOfferedBeforeTheDriverIsReadyCount) {
  offer_buffers(receive, 2);
  begin(0);
  EXPECT_TRUE(network->receiver->has_room());
}

TEST_P(VirtioNet, MergesBuffersForALargeFrame) {
  begin(kMergeable | kGuestChecksum | kGuestTso4);
  offer_buffers(receive, 40);
  card->notify(0);
  const Bytes frame = net::tcp4(5000, 0);
  net::put_bytes(*network->receiver, frame, net::tcp4_gso(1448));
  EXPECT_EQ(receive.used_length(0), kBufferSize);
  EXPECT_EQ(receive.used_length(1), kBufferSize);
  EXPECT_EQ(receive.used_length(2), 12 + frame.size() - 2 * kBufferSize);
  EXPECT_EQ(receive.get<u16>(buffer(0) + 10), 3);
  EXPECT_EQ(receive.get<u8>(buffer(0)), net::VnetHeader::kNeedsChecksum);
  EXPECT_EQ(receive.get<u8>(buffer(0) + 1), net::VnetHeader::kGsoTcp4);
  Bytes got = get(buffer(0) + 12, kBufferSize - 12);
  const Bytes rest = get(buffer(1), frame.size() - got.size());
  got.insert(got.end(), rest.begin(), rest.end());
  EXPECT_EQ(got, frame);
}

TEST_P(VirtioNet, CutsFramesForADriverThatDoesNot) {
  begin(kMergeable);
  offer_buffers(receive, 8);
  card->notify(0);
  net::put_bytes(*network->receiver, net::tcp4(3000, 0), net::tcp4_gso(1448));
  EXPECT_EQ(receive.used_length(0), 12u + 54 + 1448);
  EXPECT_EQ(receive.used_length(2), 12u + 54 + 104);
  EXPECT_EQ(receive.get<u8>(buffer(0) + 1), net::VnetHeader::kGsoNone);
}

TEST_P(VirtioNet, FramesWaitForBuffers) {
  begin(0);
  network->waiting = {net::tcp4(100, 0), net::tcp4(101, 0)};
  network->receiver_ready();
  EXPECT_EQ(network->waiting.size(), 2u);
  offer_buffers(receive, 1);
  card->notify(0);
  EXPECT_EQ(network->waiting.size(), 1u);
  offer_buffers(receive, 1);
  card->notify(0);
  EXPECT_EQ(network->waiting.size(), 0u);
  EXPECT_EQ(receive.used_length(1), 12u + 54 + 101);
}

TEST_P(VirtioNet, RunsRoundItsRing) {
  begin(kMergeable);
  for (unsigned n = 0; n < 200; ++n) {
    offered = 0;
    offer_buffers(receive, 3);
    card->notify(0);
    Bytes frame = net::tcp4(5000, 0);
    frame[100] = static_cast<u8>(n);
    net::put_bytes(*network->receiver, frame);
    ASSERT_EQ(receive.get<u8>(buffer(0) + 12 + 100), static_cast<u8>(n)) << n;
  }
  EXPECT_FALSE(needs_reset());
}

TEST_P(VirtioNet, AFrameLargerThanItsOnlyBufferIsLost) {
  begin(0);
  offer_buffers(receive, 2, 100);
  card->notify(0);
  net::put_bytes(*network->receiver, net::tcp4(500, 0));
  EXPECT_EQ(transport.queue_interrupts, 0u);
  EXPECT_FALSE(needs_reset());
}

TEST_P(VirtioNet, ABufferWithoutRoomForAHeaderEndsTheDevice) {
  begin(0);
  offer_buffers(receive, 1, 11);
  card->notify(0);
  EXPECT_TRUE(needs_reset());
  EXPECT_FALSE(network->receiver->has_room());
}

TEST_P(VirtioNet, ABufferOutsideOfRamEndsTheDevice) {
  begin(0);
  receive.add({{u64{1} << 40, kBufferSize, true}});
  card->notify(0);
  EXPECT_TRUE(needs_reset());
  EXPECT_EQ(transport.config_interrupts, 1u);
}

TEST_P(VirtioNet, FiltersOnceToldTo) {
  begin(kControl | kModes);
  offer_buffers(receive, 8);
  card->notify(0);
  const auto arrive = [this](const net::MacAddress& to, std::size_t size) {
    net::put_bytes(*network->receiver, net::ethernet(to, kPeer, 0x88b5, size));
  };
  constexpr net::MacAddress kGroup{1, 0, 0x5e, 0, 0, 1}, kOther{0x52, 0x54, 0, 7, 7, 7};
  arrive(kOther, 50);
  EXPECT_EQ(command(0, 0, {0}), 0);
  arrive(kOther, 51);
  arrive(kMac, 52);
  arrive(net::kBroadcast, 53);
  arrive(kGroup, 54);
  Bytes tables{1, 0, 0, 0};
  tables.insert(tables.end(), kOther.begin(), kOther.end());
  tables.insert(tables.end(), {1, 0, 0, 0});
  tables.insert(tables.end(), kGroup.begin(), kGroup.end());
  EXPECT_EQ(command(1, 0, tables), 0);
  arrive(kOther, 55);
  arrive(kGroup, 56);
  const std::vector<u32> sizes{receive.used_length(0), receive.used_length(1), receive.used_length(2),
                               receive.used_length(3), receive.used_length(4)};
  EXPECT_EQ(sizes, (std::vector<u32>{12 + 14 + 50, 12 + 14 + 52, 12 + 14 + 53, 12 + 14 + 55, 12 + 14 + 56}));
}

TEST_P(VirtioNet, RefusesCommandsThatAreNone) {
  begin(kControl | kModes | kGuestOffloads | kGuestChecksum);
  EXPECT_EQ(command(0, 0, {2}), 1);                             // a mode is on or off
  EXPECT_EQ(command(0, 0, {0, 0}), 1);                          // and one byte
  EXPECT_EQ(command(0, 6, {1}), 1);                             // no such mode
  EXPECT_EQ(command(0, 3, {1}), 1);                             // not agreed on
  EXPECT_EQ(command(1, 0, {0xff, 0xff, 0xff, 0xff, 1, 2}), 1);  // a table longer than the command
  EXPECT_EQ(command(1, 1, {1, 2, 3, 4, 5, 6}), 1);              // not agreed on
  EXPECT_EQ(command(4, 0, {1, 0}), 1);                          // not agreed on
  EXPECT_EQ(command(5, 0, {0x80, 0, 0, 0, 0, 0, 0, 0}), 1);     // TSO was not agreed on
  EXPECT_EQ(command(9, 9, {}), 1);
  EXPECT_FALSE(needs_reset());
}

TEST_P(VirtioNet, TheDriverChangesTheAddressUntilItResets) {
  begin(kControl | kModes | kSetMac);
  EXPECT_EQ(card->read_config(0, 4), 0x01005452u);
  EXPECT_EQ(command(1, 1, {2, 3, 4, 5, 6, 7}), 0);
  EXPECT_EQ(card->read_config(0, 4), 0x05040302u);
  card->set_status(0);
  EXPECT_EQ(card->read_config(0, 4), 0x01005452u);
}

TEST_P(VirtioNet, TheDriverChangesItsOffloads) {
  begin(kMergeable | kControl | kGuestOffloads | kGuestChecksum | kGuestTso4);
  EXPECT_EQ(network->receiver->understands(), net::Offloads::kChecksum | net::Offloads::kTso4);
  EXPECT_EQ(command(5, 0, {2, 0, 0, 0, 0, 0, 0, 0}), 0);
  EXPECT_EQ(network->receiver->understands(), net::Offloads::kChecksum);
}

TEST_P(VirtioNet, SaysWhatItIs) {
  begin(0, 2);
  EXPECT_EQ(card->queue_count(), 5u);
  EXPECT_EQ(card->read_config(6, 2), 1u);  // the link is up
  EXPECT_EQ(card->read_config(8, 2), 2u);
}

TEST_P(VirtioNet, AFlowComesBackOnThePairThatItWentOutOn) {
  begin(kControl | kMultiQueue, 2);
  EXPECT_EQ(command(fifth, 4, 4, 0, {2, 0}), 0);
  offer_buffers(receive, 4);
  offer_buffers(third, 4);
  card->notify(0);
  card->notify(2);
  const Bytes frame = net::tcp4(200, 0);
  transmit({}, frame, fourth, 3);
  net::put_bytes(*network->receiver, frame);
  EXPECT_EQ(third.used_length(0), 12 + frame.size());
  transmit({}, frame, send, 1);
  net::put_bytes(*network->receiver, frame);
  EXPECT_EQ(receive.used_length(0), 12 + frame.size());
}

TEST_P(VirtioNet, RefusesPairsThatItHasNot) {
  begin(kControl | kMultiQueue, 2);
  EXPECT_EQ(command(fifth, 4, 4, 0, {3, 0}), 1);
  EXPECT_EQ(command(fifth, 4, 4, 0, {0, 0}), 1);
}

TEST_P(VirtioNet, AResetUnplugsIt) {
  begin(0);
  offer_buffers(receive, 2);
  card->notify(0);
  card->set_status(0);
  EXPECT_EQ(network->receiver, nullptr);
}

TEST_P(VirtioNet, GoesOnWhereItWasSaved) {
  begin(kMergeable | kControl | kModes | kGuestChecksum | kGuestTso4);
  offer_buffers(receive, 40);
  card->notify(0);
  net::put_bytes(*network->receiver, net::tcp4(3000, 0));
  EXPECT_EQ(command(0, 0, {0}), 0);
  // Between quiesce() and resume() nothing arrives.
  card->quiesce();
  EXPECT_FALSE(network->receiver->has_room());
  // A frame that the driver offers while nobody looks.
  const Bytes frame = net::tcp4(200, 0);
  transmit({}, frame, send, 1);
  EXPECT_TRUE(network->sent.empty());
  const auto state = decode_state<virtio::Net::State>(card->save());
  ASSERT_TRUE(state.has_value());
  card.reset();

  const auto restored = std::make_shared<net::TestNetwork>();
  card = std::make_unique<virtio::Net>(context, restored, kMac, 1, *state);
  card->connect(transport);
  EXPECT_FALSE(restored->receiver->has_room());  // RAM may not have its contents yet
  card->resume();
  ASSERT_EQ(restored->sent.size(), 1u);
  EXPECT_EQ(restored->sent[0].bytes, frame);
  // The buffers that had been taken in advance are used from the third on.
  EXPECT_TRUE(restored->receiver->has_room());
  EXPECT_EQ(restored->receiver->understands(), net::Offloads::kChecksum | net::Offloads::kTso4);
  net::put_bytes(*restored->receiver, net::ethernet(kPeer, kMac, 0x88b5, 50));  // not to us
  net::put_bytes(*restored->receiver, net::ethernet(kMac, kPeer, 0x88b5, 51));
  EXPECT_EQ(receive.used_length(2), 12u + 14 + 51);
  EXPECT_EQ(get(buffer(2) + 12, 6), Bytes(kMac.begin(), kMac.end()));
}

}  // namespace
}  // namespace vellum
