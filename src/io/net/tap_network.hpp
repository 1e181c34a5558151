// A network interface of the host (drivers/net/tun.c, Documentation/networking/tuntap.rst): what the guest
// sends arrives on it as if from a wire, and the other way round.
//
// Each frame has a virtio_net_hdr in front (IFF_VNET_HDR), so that checksums and segmentation can be left to
// the other side in both directions; TUNSETOFFLOAD tells the host what the guest takes.
#pragma once

#include <array>
#include <optional>
#include <vector>

#include "base/fd.hpp"
#include "io/event_loop.hpp"
#include "io/net/net_config.hpp"
#include "io/net/network.hpp"
#include "io/net/traffic.hpp"
#include "io/net/vnet_header.hpp"

namespace vellum::net {

class TapNetwork final : public Network {
 public:
  static Result<std::unique_ptr<Network>> create(EventLoop& loop, const NetConfig& config);

  Offloads understands() const override { return kAllOffloads; }
  void connect(FrameReceiver* receiver) override;
  void receiver_ready() override;
  void stats(std::vector<StatRow>& rows) const override { traffic_.stats("net tap " + ifname_, rows); }

 protected:
  void take(const Frame& frame) override;

 private:
  TapNetwork(FileDescriptor tap, std::string ifname) : tap_(std::move(tap)), ifname_(std::move(ifname)) {}
  void on_readable();
  void read_frames();
  void wait();
  void tell_offloads();

  FileDescriptor tap_;
  std::string ifname_;
  FrameReceiver* receiver_ = nullptr;
  std::unique_ptr<EventLoop::Watch> watch_;
  bool waiting_ = false;
  bool gone_ = false;  ///< the interface
  /// Of nobody, so that the first time speaks: an interface keeps what its last user said.
  std::optional<Offloads> told_;
  std::vector<iovec> pieces_;
  std::array<u8, sizeof(VnetHeader) + kMaxFrame> buffer_;
  Traffic traffic_;
};

}  // namespace vellum::net
