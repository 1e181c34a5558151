// What a user asks for with --net: one network card and what it is plugged into.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "io/net/mac_address.hpp"

namespace vellum::net {

/// A port of the host whose connections or datagrams go to a port of the guest.
struct PortForward {
  bool udp = false;
  u32 host_address = 0x7f000001;  ///< IPv4, in host order
  u16 host_port = 0;
  u16 guest_port = 0;
};

struct NetConfig {
  enum class Kind : u8 { kNone, kUser, kTap, kSwitch };
  /// What the guest sees.
  enum class Model : u8 { kVirtio, kE1000 };

  Kind kind = Kind::kNone;
  Model model = Model::kVirtio;
  std::optional<MacAddress> mac;
  unsigned queues = 1;  ///< pairs of them; virtio's
  // user
  std::vector<PortForward> forwards;
  bool restricted = false;  ///< the guest reaches nothing but what forwards lead to it
  bool ipv6 = false;
  // tap
  std::string ifname;
  // switch
  std::string path;
};

/// The most cards of one machine, and queue pairs of one card.
inline constexpr std::size_t kMaxNets = 8;
inline constexpr unsigned kMaxQueuePairs = 8;

/// "KIND[,key=value…]". Errors are one line, for the caller to prefix with the option.
Result<NetConfig> parse_net(std::string_view text);
std::string_view kind_name(NetConfig::Kind kind);

/// Refuses cards that cannot be together in one machine.
Result<> check_nets(const std::vector<NetConfig>& nets);

}  // namespace vellum::net
