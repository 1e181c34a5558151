// Which frames a virtio-net card takes (virtio 1.2 §5.1.6.5.1 to .3): receive modes and tables of addresses.
#pragma once

#include <span>
#include <vector>

#include "io/net/mac_address.hpp"

namespace vellum::virtio {

struct NetFilterState {
  net::MacAddress mac{};
  // Promiscuous until the driver says otherwise: one without a control queue gets everything.
  bool promiscuous = true, all_multicast = false, all_unicast = false, no_multicast = false,
       no_unicast = false, no_broadcast = false;
  bool many_unicast = false, many_multicast = false;  ///< more than the table holds: all
  std::vector<net::MacAddress> unicast, multicast;
  template <class V>
  void visit(V& v) {
    v(mac), v(promiscuous), v(all_multicast), v(all_unicast), v(no_multicast), v(no_unicast), v(no_broadcast);
    v(many_unicast), v(many_multicast), v(unicast), v(multicast);
  }
};

class NetFilter {
 public:
  static constexpr std::size_t kMaxTable = 64;

  explicit NetFilter(NetFilterState state);

  bool accepts(const net::MacAddress& to) const;
  /// GUEST-CONTROLLED: the command's number and data, of classes RX and MAC. False: it is refused, and
  /// nothing has changed.
  bool mode_command(u8 command, std::span<const u8> data);
  bool mac_command(u8 command, std::span<const u8> data);
  const NetFilterState& state() const { return state_; }

 private:
  NetFilterState state_;
};

}  // namespace vellum::virtio
