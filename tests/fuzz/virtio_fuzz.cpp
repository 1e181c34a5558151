// Drives virtio devices as a hostile driver does: through their registers, over PCI, its legacy interface or
// MMIO, and through rings and buffers in guest memory that are made of the input's bytes and change between
// steps. Nothing may be accessed outside of guest RAM (it has guard pages), the device answers or wants a
// reset, and its state is taken by another one.
//
// The input: a byte of options (device, transport, ring features), then steps: a byte that chooses, then
// operands.
#include <sys/socket.h>

#include "base/assert.hpp"
#include "devices/virtio/balloon.hpp"
#include "devices/virtio/blk.hpp"
#include "devices/virtio/console.hpp"
#include "devices/virtio/mmio_transport.hpp"
#include "devices/virtio/net.hpp"
#include "devices/virtio/pci_transport.hpp"
#include "devices/virtio/rng.hpp"
#include "devices/virtio/vsock.hpp"
#include "fuzz_input.hpp"
#include "fuzz_network.hpp"

using namespace vellum;

namespace {

constexpr u64 kRam = 64 << 10, kTables = 0x1000, kDriverArea = 0x3000, kDeviceArea = 0x4000, kStride = 0x200;
constexpr u16 kQueueSize = 16;

class FuzzDisk final : public Disk {
 public:
  u64 size() const override { return 16 * kSector; }
  bool read_only() const override { return false; }
  u64 discard_granularity() const override { return kSector; }
  void submit(DiskRequest request) override {
    u64 length = 0;
    for (const iovec& part : request.buffers) {
      length += part.iov_len;
      // Touches all of it, as a read would.
      if (request.kind == DiskRequest::Kind::kRead)
        std::fill_n(static_cast<u8*>(part.iov_base), part.iov_len, u8{7});
    }
    const bool moves = request.kind == DiskRequest::Kind::kRead || request.kind == DiskRequest::Kind::kWrite;
    VELLUM_ASSERT(!moves || length == request.length, "{} bytes in buffers of {}", request.length, length);
    VELLUM_ASSERT(request.offset <= size() && request.length <= size() - request.offset, "{}+{}",
                  request.offset, request.length);
    waiting_.push_back(std::move(request));
  }
  void finish_all() override {
    while (!waiting_.empty()) {
      const auto now = std::exchange(waiting_, {});
      for (const DiskRequest& request : now) request.done(0);
    }
  }

 private:
  std::vector<DiskRequest> waiting_;
};

class FuzzSink final : public PacedSink {
 public:
  void write(std::span<const u8> bytes) override {
    // Touches all of it.
    for (const u8 byte : bytes) sum = static_cast<u8>(sum + byte);
    if (room != 0) --room;
  }
  bool has_room() override { return room != 0; }
  u8 sum = 0;
  unsigned room = 2;
};

/// Answers at every other port, and calls.
class FuzzHost final : public VsockHost {
 public:
  FileDescriptor connect(u32 port) override { return (port & 1) != 0 ? FileDescriptor() : pair(); }
  void listen(Listener listener) override { listener_ = std::move(listener); }
  void act(fuzz::Input& in) {
    const int peer = peers_[in.below(kPeers)].get();
    std::array<u8, 200> bytes{};
    switch (in.below(6)) {
      case 0:
        if (listener_) listener_(pair(), in.below(4));
        break;
      case 1:
        (void)::send(peer, bytes.data(), in.below(200), MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
      case 2:
        (void)::recv(peer, bytes.data(), bytes.size(), MSG_DONTWAIT);
        break;
      case 3:
        (void)::shutdown(peer, in.below(3));
        break;
      default:
        peers_[in.below(kPeers)] = FileDescriptor();
    }
  }

 private:
  static constexpr unsigned kPeers = 8;
  FileDescriptor pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()) != 0) return {};
    peers_[next_++ % kPeers] = FileDescriptor(ends[0]);
    return FileDescriptor(ends[1]);
  }
  Listener listener_;
  std::array<FileDescriptor, kPeers> peers_;
  unsigned next_ = 0;
};

class NullSink final : public MsiSink {
 public:
  void deliver(const MsiMessage&) override {}
};

struct Machine {
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(kRam));
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  Bus mmio{"mmio"}, ports{"port"};
  AddressSpace space{*ram, mmio, ports};
  NullSink msi;
  FuzzSink sink;
  std::shared_ptr<FuzzHost> host = std::make_shared<FuzzHost>();
  bool synchronous = true;
};

u32 ring_features(u8 options) {
  return (options & 2 ? 1u << 28 : 0) | (options & 4 ? 1u << 29 : 0);
}
u32 high_features(u8 options) {
  return 1 | (options & 8 ? 4u : 0);
}

/// Where the rings are, by a driver that may choose.
struct FreeLayout {
  static u64 table(unsigned queue) { return kTables + queue * kStride; }
  static u64 driver_area(unsigned queue) { return kDriverArea + queue * kStride; }
  static u16 size(const virtio::Device&, unsigned) { return kQueueSize; }
  static bool packed(u8 options) { return (options & 8) != 0; }
};

class OverPci : public FreeLayout {
 public:
  using State = virtio::PciTransport::State;
  OverPci(Machine& m, virtio::Device& device, const State& state)
      : bus_(m.space, m.msi), transport_(bus_, device, state) {
    bus_.add(pci::devfn(3, 0), transport_);
  }
  SavedState save() const { return transport_.save(); }
  void set_up(u8 options, unsigned queues, u32 features) {
    virtio::PciTransport& t = transport_;
    t.write_config(pci::kCommand, 2, pci::kMasterEnable | pci::kMemoryEnable);
    t.write(0x14, 1, 3);
    t.write(0x08, 4, 0), t.write(0x0c, 4, ring_features(options) | features);
    t.write(0x08, 4, 1), t.write(0x0c, 4, high_features(options));
    t.write(0x14, 1, 11);
    for (unsigned n = 0; n < queues; ++n) {
      t.write(0x16, 2, n), t.write(0x18, 2, kQueueSize);
      t.write(0x20, 4, kTables + n * kStride), t.write(0x28, 4, kDriverArea + n * kStride);
      t.write(0x30, 4, kDeviceArea + n * kStride), t.write(0x1c, 2, 1);
    }
    t.write(0x14, 1, 15);
  }
  void notify(unsigned queue) { transport_.write(0x3000 + 4 * queue, 2, 0); }
  void reset() { transport_.write(0x14, 1, 0); }
  void write(fuzz::Input& in) {
    transport_.write(in.take<u16>() & 0x3fff, 1u << in.below(4), in.take<u32>());
  }
  void read(fuzz::Input& in) { transport_.read(in.take<u16>() & 0x3fff, 1u << in.below(4)); }
  void configure(fuzz::Input& in, unsigned) {
    transport_.write_config(in.take<u8>() & 0xfc, 4, in.take<u32>());
    transport_.read_config(in.take<u8>() & 0xfc, 4);
  }

 private:
  pci::Bus bus_;
  virtio::PciTransport transport_;
};

/// The legacy interface: ports, and rings of the device's size in one piece, three pages apart.
class OverLegacyPci {
 public:
  using State = virtio::PciTransport::State;
  OverLegacyPci(Machine& m, virtio::Device& device, const State& state)
      : ports_(m.ports),
        bus_(m.space, m.msi),
        transport_(bus_, device, state, virtio::PciInterface::kTransitional) {
    bus_.add(pci::devfn(3, 0), transport_);
  }
  static u64 table(unsigned queue) { return page(queue) * u64{4096}; }
  static u64 driver_area(unsigned queue) { return table(queue) + 4096; }
  static u16 size(const virtio::Device& device, unsigned queue) { return device.max_queue_size(queue); }
  static bool packed(u8) { return false; }
  SavedState save() const { return transport_.save(); }
  void set_up(u8 options, unsigned queues, u32 features) {
    transport_.write_config(pci::kBar0, 4, kPorts);
    transport_.write_config(pci::kCommand, 2, pci::kMasterEnable | pci::kIoEnable);
    set(0x12, 1, 3);
    set(0x04, 4, ring_features(options) | features | (options & 1) << 27);
    for (unsigned n = 0; n < queues; ++n) set(0x0e, 2, n), set(0x08, 4, page(n));
    // A driver may begin without saying so.
    if ((options & 4) == 0) set(0x12, 1, 7);
  }
  void notify(unsigned queue) { set(0x10, 2, queue); }
  void reset() { set(0x12, 1, 0); }
  void write(fuzz::Input& in) { set(in.take<u8>() & 0x7f, 1u << in.below(3), in.take<u32>()); }
  void read(fuzz::Input& in) { ports_.read(kPorts + (in.take<u8>() & 0x7f), 1u << in.below(3)); }
  /// A queue goes and comes, or MSI-X does, and moves the registers.
  void configure(fuzz::Input& in, unsigned queues) {
    set(0x0e, 2, in.below(queues + 1));
    set(0x08, 4, in.below(18));
    if (in.below(4) == 0) transport_.write_config(in.take<u8>() & 0xfc, 4, in.take<u32>());
  }

 private:
  static constexpr u32 kPorts = 0xc000;
  static u32 page(unsigned queue) { return 1 + 3 * queue; }
  void set(u64 offset, unsigned size, u32 value) {
    ports_.write(kPorts + offset, size, size == 4 ? value : value & ((1u << 8 * size) - 1));
  }
  Bus& ports_;
  pci::Bus bus_;
  virtio::PciTransport transport_;
};

class OverMmio : public FreeLayout {
 public:
  using State = virtio::MmioTransport::State;
  OverMmio(Machine& m, virtio::Device& device, const State& state)
      : transport_(*m.ram, line_, device, state) {}
  SavedState save() const { return transport_.save(); }
  void set_up(u8 options, unsigned queues, u32 features) {
    set(0x70, 3);
    set(0x24, 0), set(0x20, ring_features(options) | features);
    set(0x24, 1), set(0x20, high_features(options));
    set(0x70, 11);
    for (unsigned n = 0; n < queues; ++n) {
      set(0x30, n), set(0x38, kQueueSize);
      set(0x80, kTables + n * kStride), set(0x90, kDriverArea + n * kStride),
          set(0xa0, kDeviceArea + n * kStride);
      set(0x44, 1);
    }
    set(0x70, 15);
  }
  void notify(unsigned queue) { set(0x50, queue); }
  void reset() { set(0x70, 0); }
  void write(fuzz::Input& in) {
    const Place place = take_place(in);
    transport_.write(place.offset, place.size, in.take<u32>());
    check();
  }
  void read(fuzz::Input& in) {
    const Place place = take_place(in);
    transport_.read(place.offset, place.size);
  }
  /// Takes a queue back, or gives it.
  void configure(fuzz::Input& in, unsigned queues) {
    set(0x30, in.below(queues + 1));
    set(0x44, in.below(3));
    transport_.read(0x44, 4);
  }

 private:
  struct Place {
    u64 offset = 0;
    unsigned size = 4;
  };
  /// Mostly a register, whole.
  static Place take_place(fuzz::Input& in) {
    const u16 bits = in.take<u16>();
    if ((bits & 0xc000) != 0) return {bits & u64{0xfc}, 4};
    return {bits & u64{0x1ff}, 1u << in.below(4)};
  }
  void set(u64 offset, u32 value) {
    transport_.write(offset, 4, value);
    check();
  }
  void check() { VELLUM_ASSERT(line_.high == (transport_.read(0x60, 4) != 0), "the line is {}", line_.high); }

  struct Line final : InterruptLine {
    void set(bool asserted) override { high = asserted; }
    bool high = false;
  };
  Line line_;
  virtio::MmioTransport transport_;
};

constexpr u64 kGuestCid = 7;

template <class Device, class Wires>
struct Slot {
  Slot(Machine& m, const typename Device::State& state, const typename Wires::State& registers)
      : device(make(m, state)), wires(m, *device, registers) {}
  static std::unique_ptr<Device> make(Machine& m, const typename Device::State& state) {
    // Synchronous, with nobody on the loop: work is done where it is asked for.
    const IoContext context{m.loop.get(), m.synchronous};
    if constexpr (std::is_same_v<Device, virtio::Blk>) {
      return std::make_unique<Device>(context, std::make_shared<FuzzDisk>(), 2, "fuzz", state);
    } else if constexpr (std::is_same_v<Device, virtio::Net>) {
      return std::make_unique<Device>(context, std::make_shared<fuzz::FuzzNetwork>(),
                                      net::MacAddress{0x52, 0x54, 0, 0, 0, 1}, 2, state);
    } else if constexpr (std::is_same_v<Device, virtio::Console>) {
      return std::make_unique<Device>(context, m.sink, state);
    } else if constexpr (std::is_same_v<Device, virtio::Vsock>) {
      return std::make_unique<Device>(context, m.host, kGuestCid, state);
    } else if constexpr (std::is_same_v<Device, virtio::Balloon>) {
      return std::make_unique<Device>(context, virtio::BalloonOptions{4, true, true, 0}, state);
    } else {
      return std::make_unique<Device>(context, state);
    }
  }
  std::unique_ptr<Device> device;
  Wires wires;
};

/// A descriptor that is mostly right: otherwise almost nothing gets past the first check.
template <class Wires>
void put_descriptor(GuestRam& ram, fuzz::Input& in, bool packed, unsigned queues) {
  const unsigned queue = in.below(queues);
  const u64 at = Wires::table(queue) + in.below(kQueueSize) * 16;
  const u64 address = in.take<u8>() * u64{256} + in.below(4);
  const u32 length =
      (in.take<u8>() & 0x3f) * (in.take<u8>() & 1 ? 16u : 512u) + in.below(queues == 5 ? 16 : 2);
  const u16 flags = in.take<u8>() & 0x87, next = in.below(kQueueSize);
  u8* const host = ram.host(GuestPhys(at));
  guest_store<u64>(host, address), guest_store<u32>(host + 8, length);
  guest_store<u16>(host + 12, packed ? next : flags), guest_store<u16>(host + 14, packed ? flags : next);
}

/// Those of virtio-net's features that are its own.
constexpr u32 kNetFeatures = 0x00d7'bba7;

/// Those of the balloon's.
constexpr u32 kBalloonFeatures = 0x36;

/// What comes from the host's side, or a list of pages, or what they are filled with.
void act_outside(fuzz::Input& in, virtio::Balloon& balloon, GuestRam& ram) {
  u8* const list = ram.host(GuestPhys(in.take<u8>() * u64{256}));
  switch (in.below(4)) {
    case 0:
      balloon.set_target(in.take<u8>());
      break;
    case 1:
      for (unsigned n = 0; n < 8; ++n) guest_store<u32>(list + 4 * n, in.below(18));
      break;
    case 2:
      balloon.write_config(in.below(20), 1, in.take<u8>());
      break;
    default:
      balloon.resume();  // what notifications do on the loop
  }
}

/// What comes from the host's side, or a packet's header that is mostly right.
void act_outside(fuzz::Input& in, virtio::Vsock& vsock, Machine& m) {
  const unsigned what = in.below(4);
  if (what == 0) m.host->act(in);
  if (what <= 1) return vsock.resume();  // what notifications do on the loop
  virtio::VsockHeader header;
  header.source_cid = kGuestCid, header.target_cid = in.below(8) == 0 ? in.take<u8>() : virtio::kHostCid;
  header.source_port = in.below(4);
  header.target_port = in.below(4) + ((in.below(2) << 30) & 0x4000'0000);
  header.length = in.below(300);
  header.type = static_cast<u16>(in.below(8) == 0 ? 2 : 1);
  header.op = static_cast<u16>(in.below(9)), header.flags = in.below(4);
  header.buffer = in.take<u16>(), header.forwarded = in.below(300);
  const auto bytes = header.encode();
  guest_copy(m.ram->host(GuestPhys(in.take<u8>() * u64{256})), bytes.data(), bytes.size());
}

/// What comes from the host's side.
void act_outside(fuzz::Input& in, virtio::Console& console, FuzzSink& sink) {
  switch (in.below(4)) {
    case 0:
      console.receive(std::vector<u8>(in.below(256), 'k'));
      break;
    case 1:
      sink.room = in.below(8);
      console.output_ready();
      break;
    case 2:
      console.resize(in.take<u8>(), in.take<u8>());
      break;
    default:
      console.resume();  // what notifications do on the loop
  }
}

template <class Device, class Wires>
void drive(fuzz::Input& in, u8 options, unsigned queues) {
  Machine m;
  // Under the real clock a console's output waits for its reader, and a balloon's pages for the next turn.
  constexpr bool kWaits = std::is_same_v<Device, virtio::Console> || std::is_same_v<Device, virtio::Balloon>;
  m.synchronous = !kWaits || (options & 128) == 0;
  if (std::is_same_v<Device, virtio::Vsock>) m.synchronous = false;
  auto slot = std::make_unique<Slot<Device, Wires>>(m, typename Device::State(), typename Wires::State());
  u32 features = std::is_same_v<Device, virtio::Net> ? in.take<u32>() & kNetFeatures : 0;
  if (std::is_same_v<Device, virtio::Balloon>) features = in.take<u8>() & kBalloonFeatures;
  slot->wires.set_up(options, queues, features);
  while (!in.empty()) {
    Wires& wires = slot->wires;
    const u8 what = in.take<u8>();
    switch (what & 15) {
      case 0:
      case 1:
      case 2:
      case 3:
        put_descriptor<Wires>(*m.ram, in, Wires::packed(options), queues);
        break;
      case 4: {
        const u64 at = in.take<u16>();
        guest_store<u8>(m.ram->host(GuestPhys(at)), in.take<u8>());
        break;
      }
      case 5:
      case 6: {  // one more is available
        const unsigned queue = in.below(queues);
        u8* const area = m.ram->host(GuestPhys(Wires::driver_area(queue)));
        const u16 index = guest_load<u16>(area + 2);
        guest_store<u16>(area + 4 + 2 * (index % Wires::size(*slot->device, queue)),
                         static_cast<u16>(in.below(kQueueSize + 1)));
        guest_store<u16>(area + 2, static_cast<u16>(index + 1));
        break;
      }
      case 7: {  // a request's header
        if constexpr (std::is_same_v<Device, virtio::Console>) {
          act_outside(in, *slot->device, m.sink);
          break;
        }
        if constexpr (std::is_same_v<Device, virtio::Vsock>) {
          act_outside(in, *slot->device, m);
          break;
        }
        if constexpr (std::is_same_v<Device, virtio::Balloon>) {
          act_outside(in, *slot->device, *m.ram);
          break;
        }
        u8* const header = m.ram->host(GuestPhys(in.take<u8>() * u64{256}));
        if (std::is_same_v<Device, virtio::Net>) {
          // What a frame leaves undone, which is also a command's class and number.
          guest_store<u8>(header, static_cast<u8>(in.below(6))),
              guest_store<u8>(header + 1, static_cast<u8>(in.below(6)));
          guest_store<u16>(header + 4, static_cast<u16>(in.below(256)));
          guest_store<u16>(header + 6, static_cast<u16>(in.below(80)));
          guest_store<u16>(header + 8, static_cast<u16>(in.below(20)));
          break;
        }
        guest_store<u32>(header, in.below(16)), guest_store<u64>(header + 8, in.below(20));
        break;
      }
      case 8:
      case 9:
      case 10:
        wires.notify(in.below(queues + 2));
        break;
      case 11:
        wires.write(in);
        break;
      case 12:
        wires.read(in);
        break;
      case 13:
        wires.reset();
        wires.set_up(options, queues, features);
        break;
      case 14:
        wires.configure(in, queues);
        break;
      default: {
        const auto state = decode_state<typename Device::State>(slot->device->save());
        const auto registers = decode_state<typename Wires::State>(wires.save());
        VELLUM_ASSERT(state && registers, "a device's own state is refused");
        slot = std::make_unique<Slot<Device, Wires>>(m, *state, *registers);
        slot->device->resume();
      }
    }
  }
}

template <class Device>
void drive_over(fuzz::Input& in, u8 options, unsigned queues) {
  if ((options & 168) == 168) {
    drive<Device, OverLegacyPci>(in, options, queues);
  } else if ((options & 32) != 0) {
    drive<Device, OverMmio>(in, options, queues);
  } else {
    drive<Device, OverPci>(in, options, queues);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  fuzz::Input in(data, std::min<std::size_t>(size, 4096));
  const u8 options = in.take<u8>();
  if ((options & 81) == 81) {
    drive_over<virtio::Vsock>(in, options, 3);
  } else if ((options & 80) == 80) {
    drive_over<virtio::Balloon>(in, options, 5);
  } else if ((options & 16) != 0) {
    drive_over<virtio::Net>(in, options, 5);
  } else if ((options & 64) != 0) {
    drive_over<virtio::Console>(in, options, 2);
  } else if ((options & 1) != 0) {
    drive_over<virtio::Rng>(in, options, 1);
  } else {
    drive_over<virtio::Blk>(in, options, 2);
  }
  return 0;
}
