// A network without privileges: libslirp's TCP/IP in this process. The guest finds a DHCP server, a gateway
// (10.0.2.2, which is also the host's loopback) and a name server (10.0.2.3); its connections become sockets
// of this process. Into the guest lead only the ports that are forwarded.
//
// libslirp wants to be told when its sockets are ready. They are members of an epoll set of our own, which
// the loop waits for as one descriptor; after each round the set is brought up to date with what libslirp
// waits for now.
//
// Connections are host resources: they are no part of a saved machine, and end with this object.
#pragma once

#include <sys/epoll.h>

#include <map>

#include "base/fd.hpp"
#include "io/event_loop.hpp"
#include "io/net/net_config.hpp"
#include "io/net/network.hpp"
#include "io/net/receiver_queue.hpp"
#include "io/net/traffic.hpp"

struct Slirp;

namespace vellum::net {

class UserNetwork final : public Network {
 public:
  static Result<std::unique_ptr<Network>> create(EventLoop& loop, const NetConfig& config);
  ~UserNetwork() override;

  // TCP in pieces of up to 64 KiB: libslirp takes them as they are, as it ends each connection here. It wants
  // checksums, which take() completes on its copy.
  Offloads understands() const override { return kAllOffloads; }
  void connect(FrameReceiver* receiver) override;
  void receiver_ready() override;
  void stats(std::vector<StatRow>& rows) const override { traffic_.stats("net user", rows); }

 protected:
  void take(const Frame& frame) override;

 private:
  struct Callbacks;
  struct Timer;
  /// What libslirp waits for on a descriptor, and what epoll found.
  struct Socket {
    int wanted = 0;      ///< SLIRP_POLL_*, of the round that is being prepared
    u32 registered = 0;  ///< EPOLL*; 0: not in the set
    u32 found = 0;       ///< EPOLL*
    u64 round = 0;       ///< when it was wanted last
  };

  explicit UserNetwork(EventLoop& loop) : loop_(loop) {}
  Result<> start(const NetConfig& config);
  void on_ready();
  void work();
  void poll_sockets();
  void update_soon();
  void update_sockets();
  void update_socket(int fd, Socket& socket);
  void forget(int fd);
  void deliver(std::span<const u8> frame);

  EventLoop& loop_;
  Slirp* slirp_ = nullptr;
  FileDescriptor epoll_;
  std::map<int, Socket> sockets_;
  u64 round_ = 0;
  std::vector<u8> input_;
  Traffic traffic_;
  ReceiverQueue to_guest_{traffic_};
  bool watching_ = false;
  std::shared_ptr<bool> update_pending_ = std::make_shared<bool>(false);  ///< outlives us in posted work
  std::unique_ptr<EventLoop::Watch> watch_;
  std::unique_ptr<EventLoop::Delay> delay_;
};

}  // namespace vellum::net
