// A card on a bus with a network behind it, as a driver reaches it.
#pragma once

#include <gtest/gtest.h>

#include "../net/test_network.hpp"
#include "../pci/pci_board.hpp"
#include "devices/e1000/controller.hpp"

namespace vellum::test {

/// What is rung is done before whoever rang goes on; memory is RAM's first MiB.
struct E1000 : testing::Test {
  static constexpr u64 kBase = 0xfeb0'0000, kPorts = 0xc000;
  static constexpr u64 kTxRing = 0x10000, kRxRing = 0x20000, kTxData = 0x30000, kRxData = 0x80000;
  static constexpr u32 kRingSize = 16, kRingBytes = kRingSize * 16, kBufferSize = 2048;
  static constexpr net::MacAddress kMac{0x52, 0x54, 0, 1, 2, 3}, kPeer{0x52, 0x54, 0, 9, 9, 9};
  static constexpr u8 kTxCommand = e1000::kEndOfPacket | e1000::kInsertFcs | e1000::kReportStatus;

  E1000() { insert({}); }
  void insert(const e1000::Controller::State& state, bool synchronous = true) {
    card.reset();
    const auto old = std::exchange(board, std::make_unique<PciBoard>());
    if (old) std::copy_n(old->ram->host(GuestPhys(0)), 1 << 20, board->ram->host(GuestPhys(0)));
    ram = board->ram.get();
    card = std::make_unique<e1000::Controller>(board->bus, clock, IoContext{loop.get(), synchronous}, network,
                                               kMac, state);
    board->bus.add(pci::devfn(3, 0), *card);
    if (!state.registers.empty()) return;
    card->write_config(pci::kBar0, 4, kBase);
    card->write_config(pci::kBar0 + 4, 4, kPorts);
    card->write_config(pci::kCommand, 2, pci::kIoEnable | pci::kMemoryEnable | pci::kMasterEnable);
  }
  /// The card's own state goes into another card, with the same RAM.
  void save_and_restore() {
    card->quiesce();
    const auto state = decode_state<e1000::Controller::State>(card->save());
    ASSERT_TRUE(state);
    insert(*state);
    card->resume();
  }

  u32 get(u32 offset) { return static_cast<u32>(board->mmio.read(kBase + offset, 4)); }
  void set(u32 offset, u32 value) { board->mmio.write(kBase + offset, 4, value); }
  bool interrupt() const { return board->wires.level[pci::pirq_of(3, 1)]; }
  template <class T>
  T load(u64 at) const {
    return guest_load<T>(ram->host(GuestPhys(at)));
  }
  template <class T>
  void store(u64 at, T value) {
    guest_store<T>(ram->host(GuestPhys(at)), value);
  }
  void put(u64 at, std::span<const u8> bytes) { std::ranges::copy(bytes, ram->host(GuestPhys(at))); }
  net::Bytes bytes(u64 at, std::size_t size) const {
    const u8* const from = ram->host(GuestPhys(at));
    return {from, from + size};
  }

  void set_ring(u32 base, u64 at) {
    set(base, static_cast<u32>(at));
    set(base + e1000::kRingLength, kRingBytes);
  }
  void start_transmitter(u32 control = e1000::kTxEnable) {
    set_ring(e1000::kTdbal, kTxRing);
    set(e1000::kTctl, control);
  }
  /// Writes descriptors, and moves the tail behind them.
  struct Descriptor {
    u64 first = 0, second = 0;
  };
  void send(std::initializer_list<Descriptor> descriptors) {
    u32 tail = get(e1000::kTdt);
    for (const Descriptor& d : descriptors) {
      store<u64>(kTxRing + 16 * tail, d.first);
      store<u64>(kTxRing + 16 * tail + 8, d.second);
      tail = (tail + 1) % kRingSize;
    }
    set(e1000::kTdt, tail);
  }
  u8 tx_status(unsigned n) const { return load<u8>(kTxRing + 16 * n + 12); }
  static Descriptor legacy(u64 at, std::size_t size, u8 command = kTxCommand, u16 special = 0) {
    return {at, size | u64{command} << 24 | u64{special} << 48};
  }
  static Descriptor data(u64 at, std::size_t size, u8 command, u8 options = 0, u16 special = 0) {
    return {at, size | u64{1} << 20 | (u64{command} | e1000::kExtended) << 24 | u64{options} << 40 |
                    u64{special} << 48};
  }
  /// Of TCP over IPv4 without options, the IP header at byte 14 (or 54 in all, with IPv6).
  static Descriptor context(u8 command, u16 mss = 0, u8 header = 54, u64 offsets = kTcp4) {
    return {offsets, (u64{command} | e1000::kExtended) << 24 | u64{header} << 40 | u64{mss} << 48};
  }
  static constexpr u64 kTcp4 = 14 | 24 << 8 | 33 << 16 | u64{34} << 32 | u64{50} << 40,
                       kTcp6 = 14 | u64{54} << 32 | u64{70} << 40;

  void start_receiver(u32 control = e1000::kRxEnable | e1000::kBroadcasts | e1000::kStripCrc,
                      u32 buffer_size = kBufferSize) {
    set_ring(e1000::kRdbal, kRxRing);
    for (u32 n = 0; n < kRingSize; ++n) store<u64>(kRxRing + 16 * n, kRxData + n * buffer_size);
    set(e1000::kRdt, kRingSize - 1);
    set(e1000::kRctl, control);
  }
  void receive(const net::Bytes& frame, const net::FrameOffload& offload = {}) {
    net::put_bytes(*network->receiver, frame, offload);
  }
  u16 rx_length(unsigned n) const { return load<u16>(kRxRing + 16 * n + 8); }
  u16 rx_sum(unsigned n) const { return load<u16>(kRxRing + 16 * n + 10); }
  u8 rx_status(unsigned n) const { return load<u8>(kRxRing + 16 * n + 12); }
  u8 rx_errors(unsigned n) const { return load<u8>(kRxRing + 16 * n + 13); }
  u16 rx_special(unsigned n) const { return load<u16>(kRxRing + 16 * n + 14); }
  net::Bytes rx_bytes(unsigned n, std::size_t size) const { return bytes(kRxData + n * kBufferSize, size); }
  static net::Bytes frame_to(const net::MacAddress& to, std::size_t payload = 100) {
    net::Bytes frame = net::ethernet(to, kPeer, 0x88b5, payload);
    std::iota(frame.begin() + 14, frame.end(), u8{1});
    return frame;
  }
  static net::Bytes tagged(net::Bytes frame, u16 tag) {
    const u8 bytes[] = {0x81, 0x00, static_cast<u8>(tag >> 8), static_cast<u8>(tag)};
    frame.insert(frame.begin() + 12, std::begin(bytes), std::end(bytes));
    return frame;
  }

  VirtualClock clock;
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::shared_ptr<net::TestNetwork> network = std::make_shared<net::TestNetwork>();
  std::unique_ptr<PciBoard> board;
  GuestRam* ram = nullptr;
  std::unique_ptr<e1000::Controller> card;
};

}  // namespace vellum::test
