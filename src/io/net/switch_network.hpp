// A switch between the VMs of one host, without privileges: they meet at a socket's path. The first serves it
// (SwitchHub) and is a port of its own switch, the others connect; when the server goes, another takes its
// place. Who serves is whoever holds the lock on the file PATH.lock, which the host releases with the
// process.
//
// Only processes of one user get in: the socket has mode 0600.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "io/net/frame_socket.hpp"
#include "io/net/net_config.hpp"
#include "io/net/receiver_queue.hpp"
#include "io/net/switch_hub.hpp"

namespace vellum::net {

class SwitchNetwork final : public Network {
 public:
  static Result<std::unique_ptr<Network>> create(EventLoop& loop, const NetConfig& config);
  ~SwitchNetwork() override;

  Offloads understands() const override { return kAllOffloads; }
  void connect(FrameReceiver* receiver) override;
  void receiver_ready() override;
  void stats(std::vector<StatRow>& rows) const override;

 protected:
  void take(const Frame& frame) override;

 private:
  /// Ports beyond our own.
  static constexpr std::size_t kMaxPeers = 64;
  /// The switch's side of our own cable, when we serve.
  class OwnPort;

  SwitchNetwork(EventLoop& loop, std::string path);
  Result<> meet();
  Result<bool> try_serving();
  Result<bool> try_connecting();
  /// That nobody else listens at the path, so that it can be ours.
  Result<> clear_path() const;
  void meet_again();
  void on_connection();
  void add_peer(FileDescriptor socket);
  Offloads own_offloads() const;
  bool serving() const { return listener_.get() >= 0; }

  EventLoop& loop_;
  const std::string path_;
  Traffic traffic_;
  ReceiverQueue to_guest_{traffic_};
  std::vector<u8> copy_;
  // Serving.
  FileDescriptor lock_, listener_;
  std::unique_ptr<EventLoop::Watch> accept_;
  std::unique_ptr<EventLoop::Delay> accept_later_;
  SwitchHub hub_;
  std::unique_ptr<OwnPort> own_port_;
  unsigned own_number_ = 0;
  std::map<unsigned, std::unique_ptr<FrameSocket>> peers_;  ///< by their port
  // Connected to another.
  std::unique_ptr<FrameSocket> uplink_;
  std::unique_ptr<EventLoop::Delay> retry_;
};

}  // namespace vellum::net
