// The legacy interface over PCI: what a driver from before virtio 1.0 does.
#include "../net/frames.hpp"
#include "../pci/pci_board.hpp"
#include "devices/virtio/blk.hpp"
#include "devices/virtio/net.hpp"
#include "devices/virtio/pci_transport.hpp"
#include "driver.hpp"
#include "io/net/vnet_header.hpp"
#include "memory_disk.hpp"

namespace vellum {
namespace {

using virtio::PciInterface;

constexpr u64 kPorts = 0xc000, kHeader = 0x30000, kData = 0x40000, kStatusByte = 0x50000;
constexpr u16 kQueueSize = 256;
constexpr u64 kMergeable = 1 << 15;

/// A ring of 256 where a legacy driver puts it: in one piece.
struct LegacyRing : test::Ring {
  LegacyRing(GuestRam& ram, u32 page) : Ring(ram, u64{page} << 12, kQueueSize, false) {
    state.driver = state.descriptors + 16 * kQueueSize;
    state.device = state.descriptors + 0x2000;
  }
};

struct VirtioLegacy : ::testing::Test, test::PciBoard {
  void plug(virtio::Device& device, PciInterface interface = PciInterface::kTransitional,
            const virtio::PciTransport::State& state = {}) {
    function = std::make_unique<virtio::PciTransport>(bus, device, state, interface);
    bus.add(pci::devfn(3, 0), *function);
    function->write_config(pci::kBar0, 4, kPorts);
    function->write_config(pci::kCommand, 2, pci::kIoEnable | pci::kMasterEnable);
  }
  void plug_disk() {
    blk = std::make_unique<virtio::Blk>(context, disk, 1, "serial");
    plug(*blk);
  }
  u32 get(u64 offset, unsigned size) { return static_cast<u32>(ports.read(kPorts + offset, size)); }
  void set(u64 offset, unsigned size, u32 value) { ports.write(kPorts + offset, size, value); }
  void queue(u16 number, u32 page) { set(0x0e, 2, number), set(0x08, 4, page); }
  void begin(u32 features) { set(0x12, 1, 3), set(0x04, 4, features); }
  void offer_read() {
    ring.put<u32>(kHeader, 0), ring.put<u64>(kHeader + 8, 1), ring.put<u8>(kStatusByte, 0xee);
    ring.add({{kHeader, 16}, {kData, 512, true}, {kStatusByte, 1, true}});
  }

  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  IoContext context{loop.get(), true};
  std::shared_ptr<test::MemoryDisk> disk = std::make_shared<test::MemoryDisk>();
  LegacyRing ring{*ram, 0x10};
  std::unique_ptr<virtio::Blk> blk;
  std::unique_ptr<virtio::PciTransport> function;
};

TEST_F(VirtioLegacy, IsKnownByItsIds) {
  plug_disk();

  EXPECT_EQ(function->read_config(0, 4), 0x1001'1af4u);
  EXPECT_EQ(function->read_config(8, 1), 0u) << "revision 0";
  EXPECT_EQ(function->read_config(0x2c, 4), 0x0002'1af4u) << "the subsystem is the type";
  EXPECT_EQ(virtio::transitional_id(1), 0x1000);
  EXPECT_EQ(virtio::transitional_id(19), 0) << "vsock has none";
}

TEST_F(VirtioLegacy, WithoutCapabilitiesOfTheModernInterface) {
  blk = std::make_unique<virtio::Blk>(context, disk, 1, "serial");
  plug(*blk, PciInterface::kLegacy);

  const unsigned first = function->read_config(0x34, 1);
  EXPECT_EQ(function->read_config(first, 1), 0x11u) << "MSI-X";
  EXPECT_EQ(function->read_config(first + 1, 1), 0u) << "and no more";
  function->write_config(pci::kBar0 + 16, 4, ~0u);
  EXPECT_EQ(function->read_config(pci::kBar0 + 16, 4), 0u);
}

TEST_F(VirtioLegacy, FeaturesHave32Bits) {
  plug_disk();

  EXPECT_EQ(get(0x00, 4), static_cast<u32>(blk->features()) | 1u << 27);
  begin(0xffff'ffff);

  EXPECT_EQ(get(0x04, 4), get(0x00, 4)) << "what is not offered is not taken";
  EXPECT_EQ(blk->driver_features() >> 32, 0u);
}

TEST_F(VirtioLegacy, ReadsADisk) {
  plug_disk();
  for (std::size_t n = 0; n < 512; ++n) disk->bytes[512 + n] = static_cast<u8>(n);
  begin(0);
  queue(0, 0x10);
  EXPECT_EQ(get(0x0c, 2), kQueueSize);
  EXPECT_EQ(get(0x08, 4), 0x10u);
  set(0x12, 1, 7);

  offer_read();
  set(0x10, 2, 0);

  EXPECT_EQ(ring.used_index(), 1u);
  EXPECT_EQ(ring.get<u8>(kStatusByte), 0u);
  EXPECT_EQ(ring.get<u8>(kData + 77), 77u);
  EXPECT_EQ(get(0x12, 1), 7u);
  EXPECT_EQ(get(0x13, 1), 1u) << "the ISR";
  EXPECT_EQ(get(0x13, 1), 0u) << "which reading clears";
  EXPECT_EQ(get(0x14, 4), 64u) << "capacity: the configuration follows";
}

TEST_F(VirtioLegacy, WithMsixVectorsStandBeforeTheConfiguration) {
  plug_disk();
  const unsigned msix = function->read_config(0x34, 1);
  function->write_config(msix + 2, 2, 0x8000);

  set(0x14, 2, 0), set(0x0e, 2, 0), set(0x16, 2, 1);
  EXPECT_EQ(get(0x14, 2), 0u);
  EXPECT_EQ(get(0x16, 2), 1u);
  set(0x16, 2, 9);
  EXPECT_EQ(get(0x16, 2), 0xffffu) << "there is no such vector";
  EXPECT_EQ(get(0x18, 4), 64u);
}

TEST_F(VirtioLegacy, MayBeUsedBeforeTheDriverSaysThatItIsReady) {
  plug_disk();
  begin(0);
  queue(0, 0x10);

  offer_read();
  set(0x10, 2, 0);

  EXPECT_EQ(ring.used_index(), 1u);
  EXPECT_EQ(get(0x12, 1), 3u);
  set(0x12, 1, 7);
  EXPECT_EQ(get(0x12, 1), 7u);
  offer_read();
  set(0x10, 2, 0);
  EXPECT_EQ(ring.used_index(), 2u);
}

TEST_F(VirtioLegacy, ANotificationWithoutAQueueStartsNothing) {
  plug_disk();
  begin(0);

  set(0x10, 2, 0), set(0x10, 2, 7);

  EXPECT_EQ(blk->status(), 3u);
}

TEST_F(VirtioLegacy, AResetTakesTheQueuesBack) {
  plug_disk();
  begin(0);
  queue(0, 0x10);
  set(0x12, 1, 7);

  set(0x12, 1, 0);
  offer_read();
  set(0x10, 2, 0);

  EXPECT_EQ(get(0x08, 4), 0u);
  EXPECT_EQ(ring.used_index(), 0u);
}

TEST_F(VirtioLegacy, AQueueOfWhichTheDriverTookThePageIsItsOwn) {
  plug_disk();
  begin(0);
  queue(0, 0x10);
  set(0x12, 1, 7);

  set(0x08, 4, 0);
  offer_read();
  set(0x10, 2, 0);

  EXPECT_EQ(ring.used_index(), 0u);
}

TEST_F(VirtioLegacy, ARingOutsideOfRamEndsTheDevice) {
  plug_disk();
  begin(0);
  queue(0, 0xffff'ffff);
  set(0x12, 1, 7);

  set(0x10, 2, 0);

  EXPECT_EQ(get(0x12, 1) & virtio::kNeedsReset, virtio::kNeedsReset);
}

TEST_F(VirtioLegacy, SavedBeforeItIsReadyItGoesOn) {
  plug_disk();
  begin(0);
  queue(0, 0x10);
  offer_read();
  set(0x10, 2, 0);
  offer_read();

  const auto state = decode_state<virtio::PciTransport::State>(function->save());
  const auto device_state = decode_state<virtio::Blk::State>(blk->save());
  function.reset();
  blk = std::make_unique<virtio::Blk>(context, disk, 1, "serial", *device_state);
  pci::Bus second(space, msi);
  second.connect(wires);
  virtio::PciTransport after(second, *blk, *state, PciInterface::kTransitional);
  second.add(pci::devfn(3, 0), after);
  blk->resume();

  EXPECT_EQ(ring.used_index(), 2u);
  EXPECT_EQ(get(0x12, 1), 3u) << "still not ready, as the driver sees it";
  EXPECT_EQ(get(0x08, 4), 0x10u);
}

// ---- A network card ----

class TestNetwork final : public net::Network {
 public:
  net::Offloads understands() const override { return net::Offloads::kNone; }
  void connect(net::FrameReceiver* to) override { receiver = to; }
  void receiver_ready() override {}
  void stats(std::vector<StatRow>&) const override {}
  net::FrameReceiver* receiver = nullptr;
  std::vector<net::Bytes> sent;

 protected:
  void take(const net::Frame& frame) override {
    sent.emplace_back(net::frame_size(frame.pieces));
    net::gather(frame.pieces, sent.back());
  }
};

struct VirtioLegacyNet : VirtioLegacy {
  void start(u32 features) {
    card = std::make_unique<virtio::Net>(context, network, net::MacAddress{0x52, 0x54, 0, 1, 2, 3}, 1);
    plug(*card);
    begin(features);
    queue(0, 0x20), queue(1, 0x10);
    set(0x12, 1, 7);
    receive.add({{kData, 0x800, true}});
    set(0x10, 2, 0);
  }
  ~VirtioLegacyNet() override { function.reset(); }
  net::Bytes at(u64 address, std::size_t size) {
    const u8* const from = ram->host(GuestPhys(address));
    return {from, from + size};
  }
  void send(u64 header_size) {
    std::fill_n(ram->host(GuestPhys(kHeader)), header_size, u8{0});
    std::ranges::copy(frame, ram->host(GuestPhys(kHeader + 64)));
    ring.add({{kHeader, static_cast<u32>(header_size)}, {kHeader + 64, static_cast<u32>(frame.size())}});
    set(0x10, 2, 1);
  }

  const net::Bytes frame = net::Bytes(200, 0x5a);
  LegacyRing receive{*ram, 0x20};
  std::shared_ptr<TestNetwork> network = std::make_shared<TestNetwork>();
  std::unique_ptr<virtio::Net> card;
};

TEST_F(VirtioLegacyNet, HeadersHave10BytesWithoutMergeableBuffers) {
  start(0);

  send(10);
  net::put_bytes(*network->receiver, frame);

  EXPECT_EQ(network->sent, (std::vector<net::Bytes>{frame}));
  EXPECT_EQ(receive.used_length(0), 10 + frame.size());
  EXPECT_EQ(at(kData + 10, frame.size()), frame);
}

TEST_F(VirtioLegacyNet, And12WithThem) {
  start(kMergeable);

  send(12);
  net::put_bytes(*network->receiver, frame);

  EXPECT_EQ(network->sent, (std::vector<net::Bytes>{frame}));
  EXPECT_EQ(receive.used_length(0), 12 + frame.size());
  EXPECT_EQ(at(kData + 10, 2), (net::Bytes{1, 0}));
}

TEST_F(VirtioLegacyNet, TheAddressIsInTheConfiguration) {
  start(0);

  EXPECT_EQ(get(0x14, 4), 0x0100'5452u);
  EXPECT_EQ(get(0x18, 2), 0x0302u);
}

}  // namespace
}  // namespace vellum
