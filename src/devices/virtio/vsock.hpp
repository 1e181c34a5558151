// virtio-vsock (virtio 1.2 §5.10): streams between programs of the guest and of the host. Queue 0 brings
// packets to the guest, queue 1 takes its own, queue 2 tells it of events.
//
// Sockets do not move with a machine: the driver of a restored one is told that its connections are gone.
#pragma once

#include <deque>
#include <map>

#include "devices/virtio/device.hpp"
#include "devices/virtio/vsock_connection.hpp"
#include "io/vsock/socket_poll.hpp"
#include "io/vsock/vsock_host.hpp"

namespace vellum::virtio {

class Vsock final : public Device, public Snapshottable {
 public:
  struct State {
    static constexpr std::string_view kKind = "virtio-vsock";
    static constexpr u32 kVersion = 1;
    DeviceState virtio;
    State() {}
    template <class V>
    void visit(V& v) {
      v(virtio);
    }
  };
  static constexpr u16 kQueueSize = 128, kEventQueueSize = 16;
  /// More are refused.
  static constexpr std::size_t kMaxConnections = 512;

  /// `cid`: the guest's identifier, 3 to 2^32 - 2.
  Vsock(const IoContext& context, std::shared_ptr<VsockHost> host, u64 cid, const State& state = State());
  ~Vsock() override;

  void quiesce() override { paused_ = true; }
  void resume() override;
  SavedState save() const override;
  void stats(std::vector<StatRow>& rows) const override;

 private:
  using Connection = std::shared_ptr<VsockConnection>;
  struct Ports {
    u32 guest = 0, host = 0;
    auto operator<=>(const Ports&) const = default;
  };
  /// A buffer of the guest's, and where the ring stood before it was taken.
  struct Buffer {
    Chain chain;
    u64 room = 0;
    RingPosition before;
  };

  std::vector<u8> config() const override;
  void process(unsigned queue) override;
  void activated() override;
  void stop() override;
  bool halted() const { return paused_ || ended_ || !running(); }
  void end(const std::string& why);

  void take_packets();
  bool take_packet(const Chain& chain);
  bool to_connection(const VsockHeader& header, const Chain& chain, VsockConnection& connection);
  bool take_data(const VsockHeader& header, const Chain& chain, VsockConnection& connection);
  void called_by_guest(const VsockHeader& header);
  void called_by_host(FileDescriptor socket, u32 port);
  Connection add(FileDescriptor socket, Ports ports, bool called);
  /// Whether it is one of the guest's still.
  bool knows(const Connection& connection) const;
  void drop(const Ports& ports, bool keep_backlog);
  void socket_ready(u64 key, SocketPoll::Ready ready);

  void refuse(const VsockHeader& header);
  void reset(VsockConnection& connection);
  void line_up(const Connection& connection);
  void send_packets();
  bool take_buffer();
  bool send_next();
  void send(const VsockHeader& header, std::span<const u8> data);
  void tell_events();

  const std::shared_ptr<VsockHost> host_;
  const u64 cid_;
  // The loop's.
  std::unique_ptr<SocketPoll> poll_;
  std::map<Ports, Connection> connections_;
  std::map<u64, Connection> by_key_;  ///< those, and those that the guest is done with but have a backlog
  std::deque<Connection> line_;       ///< may have packets for the guest
  std::deque<VsockHeader> resets_;    ///< for the guest; bounded: no more packets are taken meanwhile
  std::optional<Buffer> buffer_;      ///< the guest's, for its next packet
  std::vector<u8> bytes_;             ///< on their way between a socket and the guest
  u64 next_key_ = 0;
  u32 next_host_port_ = 0;
  bool packets_wait_ = false;  ///< from the guest, until there is room for answers
  bool tell_reset_ = false;    ///< an event to tell
  bool paused_ = false;        ///< between quiesce() and resume()
  bool ended_ = false;         ///< wants a reset
  SharedCounter opened_, refused_, resets_sent_, bytes_to_guest_, bytes_from_guest_;
};

}  // namespace vellum::virtio
