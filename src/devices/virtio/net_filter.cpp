#include "devices/virtio/net_filter.hpp"

#include <algorithm>

namespace vellum::virtio {
namespace {

constexpr u8 kTableSet = 0, kAddressSet = 1;
constexpr std::size_t kMacSize = 6;

net::MacAddress mac_at(std::span<const u8> data, std::size_t offset) {
  net::MacAddress mac;
  std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(offset), kMacSize, mac.begin());
  return mac;
}

struct Table {
  std::vector<net::MacAddress> addresses;
  bool many = false;
};

// struct virtio_net_ctrl_mac: a count (4 bytes), then addresses. Takes it off the front of `data`.
bool take_table(std::span<const u8>& data, Table& table) {
  if (data.size() < 4) return false;
  u64 count = 0;
  for (unsigned i = 0; i < 4; ++i) count |= u64{data[i]} << (8 * i);
  data = data.subspan(4);
  if (count > data.size() / kMacSize) return false;
  table.many = count > NetFilter::kMaxTable;
  if (!table.many)
    for (std::size_t n = 0; n < count; ++n) table.addresses.push_back(mac_at(data, n * kMacSize));
  data = data.subspan(count * kMacSize);
  return true;
}

}  // namespace

NetFilter::NetFilter(NetFilterState state) : state_(std::move(state)) {
  // A saved state is untrusted.
  if (state_.unicast.size() > kMaxTable) state_.unicast.resize(kMaxTable);
  if (state_.multicast.size() > kMaxTable) state_.multicast.resize(kMaxTable);
}

bool NetFilter::accepts(const net::MacAddress& to) const {
  const NetFilterState& s = state_;
  if (s.promiscuous) return true;
  if (to == net::kBroadcast) return !s.no_broadcast;
  if (net::is_group(to)) {
    if (s.no_multicast) return false;
    return s.all_multicast || s.many_multicast || std::ranges::find(s.multicast, to) != s.multicast.end();
  }
  if (s.no_unicast) return false;
  return s.all_unicast || s.many_unicast || to == s.mac ||
         std::ranges::find(s.unicast, to) != s.unicast.end();
}

bool NetFilter::mode_command(u8 command, std::span<const u8> data) {
  bool* const modes[] = {&state_.promiscuous,  &state_.all_multicast, &state_.all_unicast,
                         &state_.no_multicast, &state_.no_unicast,    &state_.no_broadcast};
  if (command >= std::size(modes) || data.size() != 1 || data[0] > 1) return false;
  *modes[command] = data[0] != 0;
  return true;
}

bool NetFilter::mac_command(u8 command, std::span<const u8> data) {
  if (command == kAddressSet) {
    if (data.size() != kMacSize) return false;
    state_.mac = mac_at(data, 0);
    return true;
  }
  if (command != kTableSet) return false;
  Table unicast, multicast;
  if (!take_table(data, unicast) || !take_table(data, multicast) || !data.empty()) return false;
  state_.unicast = std::move(unicast.addresses);
  state_.many_unicast = unicast.many;
  state_.multicast = std::move(multicast.addresses);
  state_.many_multicast = multicast.many;
  return true;
}

}  // namespace vellum::virtio
