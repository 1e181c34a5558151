// Drives an e1000 as a hostile driver does: through its registers and ports, and through rings and buffers in
// guest memory that change between steps, with frames from the network among them, and saves and restores,
// also of damaged states. Nothing may be accessed outside of guest RAM (it has guard pages), and whatever the
// card sends fits its offload.
//
// The input: steps, each a byte that chooses, then operands.
#include "base/assert.hpp"
#include "devices/e1000/controller.hpp"
#include "fuzz_input.hpp"
#include "fuzz_network.hpp"

using namespace vellum;
using namespace vellum::e1000;

namespace {

constexpr u64 kRam = 64 << 10, kTxRing = 0x1000, kRxRing = 0x2000, kData = 0x3000;
constexpr u64 kBase = 0xfeb0'0000, kPorts = 0xc000;
constexpr u32 kRingSize = 16;

class NullSink final : public MsiSink {
 public:
  void deliver(const MsiMessage&) override {}
};

/// Makes frames for the card, too.
class Peer final : public net::Network {
 public:
  net::Offloads understands() const override { return echo_.understands(); }
  void connect(net::FrameReceiver* receiver) override { receiver_ = receiver, echo_.connect(receiver); }
  void receiver_ready() override {}
  void stats(std::vector<StatRow>&) const override {}
  void send(std::span<const u8> frame, const net::FrameOffload& offload) {
    if (receiver_ == nullptr || !net::fits(offload, frame.size())) return;
    receiver_->has_room();
    net::put_bytes(*receiver_, frame, offload);
  }

 protected:
  void take(const net::Frame& frame) override { echo_.put(frame); }

 private:
  fuzz::FuzzNetwork echo_;
  net::FrameReceiver* receiver_ = nullptr;
};

/// A card's surroundings; a restored one gets new ones but for RAM.
struct Slot {
  Slot(GuestRam& ram, Clock& clock, EventLoop& loop, const Controller::State& state)
      : space{ram, mmio, ports},
        bus(space, msi),
        card(bus, clock, IoContext{&loop, false}, peer, {0x52, 0x54, 0, 0, 0, 1}, state) {
    bus.add(pci::devfn(3, 0), card);
  }
  Bus mmio{"mmio"}, ports{"port"};
  AddressSpace space;
  NullSink msi;
  pci::Bus bus;
  std::shared_ptr<Peer> peer = std::make_shared<Peer>();
  Controller card;
};

struct Machine {
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(kRam));
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  VirtualClock clock;
  std::unique_ptr<Slot> slot = std::make_unique<Slot>(*ram, clock, *loop, Controller::State());

  u32 get(u32 offset) { return static_cast<u32>(slot->mmio.read(kBase + offset, 4)); }
  void set(u32 offset, u32 value) { slot->mmio.write(kBase + offset, 4, value); }
  /// What doorbells do on the loop, one turn of it.
  void turn() { slot->card.resume(); }
};

void set_up(Machine& m, u32 control) {
  m.slot->card.write_config(pci::kBar0, 4, kBase);
  m.slot->card.write_config(pci::kBar0 + 4, 4, kPorts);
  m.slot->card.write_config(pci::kCommand, 2, pci::kIoEnable | pci::kMemoryEnable | pci::kMasterEnable);
  m.set(kTdbal, kTxRing), m.set(kTdbal + kRingBaseHigh, 0), m.set(kTdbal + kRingLength, kRingSize * 16);
  m.set(kRdbal, kRxRing), m.set(kRdbal + kRingBaseHigh, 0), m.set(kRdbal + kRingLength, kRingSize * 16);
  m.set(kTdh, 0), m.set(kTdt, 0), m.set(kRdh, 0);
  for (u32 n = 0; n < kRingSize; ++n)
    guest_store<u64>(m.ram->host(GuestPhys(kRxRing + 16 * n)), kData + n * 0x800);
  m.set(kIms, kAllCauses);
  m.set(kRxcsum, 0x300);
  m.set(kTctl, kTxEnable | kPadShort);
  m.set(kRdt, kRingSize - 1);
  m.set(kRctl, kRxEnable | control);
}

/// A descriptor that is mostly right.
void put_descriptor(Machine& m, fuzz::Input& in) {
  u8* const at = m.ram->host(GuestPhys(kTxRing + in.below(kRingSize) * 16));
  const u8 kind = in.take<u8>(), command = in.take<u8>();
  u64 first = 0, second = u64{command} << 24;
  if ((kind & 3) == 0) {  // a context; offsets near those of plain packets
    first = (14 + (in.below(8) & 4)) | 24 << 8 | 33 << 16 | u64{34} << 32 | u64{50} << 40;
    if ((kind & 4) != 0) first ^= in.take<u64>();
    second |= u64{kExtended} << 24 | u64{in.below(128)} << 40 | u64{in.take<u16>()} << 48;
  } else {
    first = kData + in.below(52) * 0x400 + (kind >> 4);
    second |= in.take<u16>() & ((kind & 8) != 0 ? 0xffff : 0x7ff);
    if ((kind & 3) != 1) second |= u64{1} << 20 | u64{kExtended} << 24;
    second |= u64{in.take<u8>()} << 40 | u64{in.take<u8>()} << 32 | u64{in.take<u8>()} << 48;
  }
  guest_store<u64>(at, first), guest_store<u64>(at + 8, second);
}

/// Ethernet, perhaps a tag, IP, TCP; what follows is the input's.
std::vector<u8> make_frame(fuzz::Input& in) {
  const u8 kind = in.take<u8>();
  std::vector<u8> frame((in.take<u16>() & ((kind & 0x80) != 0 ? 0xffff : 0x7ff)) + net::kMinFrame + 60);
  constexpr u8 kMac[] = {0x52, 0x54, 0, 0, 0, 1};
  for (unsigned i = 0; i < 6; ++i) frame[i] = (kind & 1) != 0 ? u8{0xff} : kMac[i];
  std::size_t at = 12;
  if ((kind & 2) != 0) frame[at] = 0x81, frame[at + 3] = kind, at += 4;
  const bool ipv6 = (kind & 4) != 0;
  frame[at] = ipv6 ? 0x86 : 0x08, frame[at + 1] = ipv6 ? 0xdd : 0x00;
  at += 2;
  const std::size_t size = frame.size() - at;
  frame[at] = ipv6 ? 0x60 : 0x45;
  frame[at + (ipv6 ? 6 : 9)] = (kind & 8) != 0 ? 17 : 6;
  if ((kind & 16) == 0) frame[at + 2] = static_cast<u8>(size >> 8), frame[at + 3] = static_cast<u8>(size);
  frame[at + (ipv6 ? 40 : 20) + 12] = 0x50;
  for (unsigned n = in.below(4); n > 0; --n) frame[in.below(96) % frame.size()] = in.take<u8>();
  return frame;
}

void receive(Machine& m, fuzz::Input& in) {
  const auto frame = make_frame(in);
  net::FrameOffload offload;
  const u8 bits = in.take<u8>();
  offload.needs_checksum = (bits & 1) != 0;
  offload.checksum_valid = (bits & 3) == 2;
  offload.checksum_start = 34, offload.checksum_offset = 16;
  if ((bits & 5) == 5) offload.gso = net::Gso::kTcp4, offload.gso_size = static_cast<u16>(1 + in.below(255));
  m.slot->peer->send(frame, offload);
}

/// A frame into guest memory, for descriptors to lead to.
void put_frame(Machine& m, fuzz::Input& in) {
  const u64 at = kData + in.below(52) * 0x400;
  const auto frame = make_frame(in);
  const auto size = std::min<std::size_t>(frame.size(), kRam - at);
  guest_copy(m.ram->host(GuestPhys(at)), frame.data(), size);
}

void restore(Machine& m, fuzz::Input& in, bool damage) {
  m.slot->card.quiesce();
  SavedState saved = m.slot->card.save();
  const std::vector<u8> before = saved.bytes;
  if (damage) saved.bytes[in.take<u16>() % saved.bytes.size()] = in.take<u8>();
  const auto state = decode_state<Controller::State>(saved);
  if (!state) return m.turn();
  m.slot = std::make_unique<Slot>(*m.ram, m.clock, *m.loop, *state);
  VELLUM_ASSERT(damage || m.slot->card.save().bytes == before, "a state that is not the one restored");
  m.turn();
}

constexpr u32 kInteresting[] = {kCtrl,
                                kEecd,
                                kEerd,
                                kMdic,
                                kVet,
                                kIcr,
                                kItr,
                                kIcs,
                                kIms,
                                kImc,
                                kRctl,
                                kRdbal,
                                kRdbal + kRingBaseHigh,
                                kRdbal + kRingLength,
                                kRdh,
                                kRdt,
                                kTctl,
                                kTdbal,
                                kTdbal + kRingBaseHigh,
                                kTdbal + kRingLength,
                                kTdh,
                                kTdt,
                                kTxdctl,
                                kRxcsum,
                                kMta,
                                kRal,
                                kRal + 4,
                                kVfta,
                                kStatus,
                                kGorcl,
                                kGorcl + 4,
                                kTsctc};

u32 take_register(fuzz::Input& in) {
  const u8 which = in.take<u8>();
  return which < 240 ? kInteresting[which % std::size(kInteresting)] : in.take<u32>() & (kMemorySize - 1);
}

void step(Machine& m, fuzz::Input& in) {
  switch (in.take<u8>() & 15) {
    case 0:
    case 1:
    case 2:
      return put_descriptor(m, in);
    case 3:
    case 4:
      m.set(kTdt, (m.get(kTdt) + 1 + in.below(4)) % kRingSize);
      return m.turn();
    case 5:
      m.set(kRdt, (m.get(kRdt) + 1 + in.below(4)) % kRingSize);
      return m.turn();
    case 6:
    case 7: {
      const u32 offset = take_register(in);
      m.set(offset, in.take<u32>());
      return m.turn();
    }
    case 8:
      (void)m.get(take_register(in));
      return;
    case 9:
      return receive(m, in);
    case 10:
      return put_frame(m, in);
    case 11: {
      m.slot->ports.write(kPorts + (in.below(4) & 3) * 4, 1u << in.below(3), in.take<u8>() * 4u);
      m.slot->ports.write(kPorts + 4, 4, in.take<u32>());
      (void)m.slot->ports.read(kPorts + in.below(64), 1u << in.below(3));
      return m.turn();
    }
    case 12:
      if (in.below(2) == 0) return set_up(m, in.take<u32>() & ~u32{kLoopbackMask});
      m.slot->card.write_config(in.take<u8>() & 0xfc, 4, in.take<u32>());
      return;
    case 13:
      m.clock.skip_to(m.clock.now_ns() + in.take<u16>());
      m.clock.run_expired();
      return;
    case 14:
      return restore(m, in, false);
    default:
      return restore(m, in, true);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  Machine m;
  fuzz::Input in(data, std::min<std::size_t>(size, 2048));
  set_up(m, kBroadcasts);
  while (!in.empty()) step(m, in);
  return 0;
}
