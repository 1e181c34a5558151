#include "io/net/create_network.hpp"

#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>

#include "io/net/switch_network.hpp"
#include "io/net/tap_network.hpp"
#include "io/net/user_network.hpp"

namespace vellum::net {
namespace {

constexpr u32 kUserBase = 0x123456;  // the same default as QEMU's, so that images know their card

u32 hash24(std::string_view text) {  // FNV-1a, folded
  u32 hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<u8>(c)) * 16777619u;
  return (hash >> 24 ^ hash) & 0xffffff;
}

// The lowest number of those that VMs at this path have not taken. A name in the abstract name space of unix
// sockets is taken until its process ends, and leaves nothing behind.
u32 take_place(const std::string& path, std::vector<FileDescriptor>& places) {
  constexpr u32 kMaxPlaces = 256;
  for (u32 place = 0; place < kMaxPlaces; ++place) {
    FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = fmt::format("vellum-switch-{:06x}-{}", hash24(path), place);
    name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    // SAFETY: the socket functions take any address as a sockaddr.
    if (!socket || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) continue;
    places.push_back(std::move(socket));
    return place;
  }
  return kMaxPlaces;
}

}  // namespace

Result<std::unique_ptr<Network>> create_network(EventLoop& loop, const NetConfig& config) {
  switch (config.kind) {
    case NetConfig::Kind::kUser:
      return UserNetwork::create(loop, config);
    case NetConfig::Kind::kTap:
      return TapNetwork::create(loop, config);
    case NetConfig::Kind::kSwitch:
      return SwitchNetwork::create(loop, config);
    case NetConfig::Kind::kNone:
      break;
  }
  return std::make_unique<NullNetwork>();
}

std::vector<MacAddress> card_addresses(const std::vector<NetConfig>& nets,
                                       std::vector<FileDescriptor>& places) {
  std::vector<MacAddress> taken;
  for (const NetConfig& net : nets)
    if (net.mac) taken.push_back(*net.mac);
  std::vector<MacAddress> all;
  for (const NetConfig& net : nets) {
    if (net.mac) {
      all.push_back(*net.mac);
      continue;
    }
    u32 number = kUserBase;
    if (net.kind == NetConfig::Kind::kTap && !net.ifname.empty()) number = hash24("tap " + net.ifname);
    if (net.kind == NetConfig::Kind::kSwitch)
      number = (hash24(net.path) & 0xffff00) + take_place(net.path, places);
    while (std::ranges::find(taken, numbered_mac(number)) != taken.end()) ++number;
    taken.push_back(numbered_mac(number));
    all.push_back(taken.back());
  }
  return all;
}

}  // namespace vellum::net
