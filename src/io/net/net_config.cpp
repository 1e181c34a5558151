#include "io/net/net_config.hpp"

#include <arpa/inet.h>
#include <fmt/ranges.h>
#include <net/if.h>
#include <sys/un.h>

#include <algorithm>

#include "base/key_values.hpp"

namespace vellum::net {
namespace {

using Kind = NetConfig::Kind;

Result<MacAddress> parse_mac(std::string_view value) {
  MacAddress mac{};
  std::string_view rest = value;
  bool good = std::ranges::count(value, ':') == 5;
  for (u8& byte : mac) {
    const std::string_view item = take_until(rest, ':');
    good = good && item.size() == 2 && parse_number(item, byte, 16);
  }
  if (!good)
    return fail(ErrorCode::kInvalidArgument, "mac={}: expected six bytes, as in mac=52:54:00:00:00:01",
                value);
  if (is_group(mac) || mac == MacAddress{})
    return fail(ErrorCode::kInvalidArgument,
                "mac={}: not the address of one card; take one that begins with 52:54:00", value);
  return mac;
}

// "tcp:[ADDRESS:]HOSTPORT:GUESTPORT"
Result<PortForward> parse_forward(std::string_view value) {
  PortForward forward;
  std::string_view rest = value;
  const std::string_view protocol = take_until(rest, ':');
  bool good = protocol == "tcp" || protocol == "udp";
  forward.udp = protocol == "udp";
  if (std::ranges::count(rest, ':') == 2) {
    in_addr address{};
    good = good && ::inet_pton(AF_INET, std::string(take_until(rest, ':')).c_str(), &address) == 1;
    forward.host_address = ntohl(address.s_addr);
  }
  good = good && std::ranges::count(rest, ':') == 1;
  good = good && parse_number(take_until(rest, ':'), forward.host_port) && forward.host_port != 0;
  good = good && parse_number(rest, forward.guest_port) && forward.guest_port != 0;
  if (!good)
    return fail(
        ErrorCode::kInvalidArgument,
        "forward={}: expected tcp or udp:[HOST-ADDRESS:]HOST-PORT:GUEST-PORT, ports from 1 to 65535, as in "
        "forward=tcp:2222:22",
        value);
  return forward;
}

// Which keys there are, and for which kinds ("": all).
struct Key {
  std::string_view name;
  std::string_view kind;
  Result<> (*apply)(NetConfig& to, std::string_view key, std::string_view value);
};

constexpr Key kKeys[] = {
    {"mac", "",
     [](NetConfig& to, std::string_view, std::string_view value) -> Result<> {
       VELLUM_TRY_ASSIGN_TO(to.mac, parse_mac(value));
       return {};
     }},
    {"queues", "",
     [](NetConfig& to, std::string_view, std::string_view value) -> Result<> {
       if (!parse_number(value, to.queues) || to.queues == 0 || to.queues > kMaxQueuePairs)
         return fail(ErrorCode::kInvalidArgument, "queues={}: expected a number from 1 to {}", value,
                     kMaxQueuePairs);
       return {};
     }},
    {"model", "",
     [](NetConfig& to, std::string_view, std::string_view value) -> Result<> {
       if (value != "virtio" && value != "e1000")
         return fail(ErrorCode::kInvalidArgument, "model={}: unknown; there are: virtio, e1000", value);
       to.model = value == "e1000" ? NetConfig::Model::kE1000 : NetConfig::Model::kVirtio;
       return {};
     }},
    {"forward", "user",
     [](NetConfig& to, std::string_view, std::string_view value) -> Result<> {
       VELLUM_TRY_ASSIGN(forward, parse_forward(value));
       to.forwards.push_back(forward);
       return {};
     }},
    {"restrict", "user",
     [](NetConfig& to, std::string_view key, std::string_view value) -> Result<> {
       VELLUM_TRY_ASSIGN_TO(to.restricted, on_off(key, value));
       return {};
     }},
    {"ipv6", "user",
     [](NetConfig& to, std::string_view key, std::string_view value) -> Result<> {
       VELLUM_TRY_ASSIGN_TO(to.ipv6, on_off(key, value));
       return {};
     }},
    {"ifname", "tap",
     [](NetConfig& to, std::string_view, std::string_view value) -> Result<> {
       if (value.empty() || value.size() >= IFNAMSIZ || value.find('/') != value.npos ||
           value.find('%') != value.npos)
         return fail(ErrorCode::kInvalidArgument, "ifname={}: expected an interface's name, 1 to {} letters",
                     value, IFNAMSIZ - 1);
       to.ifname = value;
       return {};
     }},
    {"path", "switch",
     [](NetConfig& to, std::string_view, std::string_view value) -> Result<> {
       if (value.empty() || value.size() >= sizeof(sockaddr_un::sun_path))
         return fail(ErrorCode::kInvalidArgument, "path={}: expected a socket's path, 1 to {} bytes", value,
                     sizeof(sockaddr_un::sun_path) - 1);
       to.path = value;
       return {};
     }},
};

std::string keys_of(std::string_view kind) {
  std::vector<std::string_view> names;
  for (const Key& key : kKeys)
    if (key.kind.empty() || key.kind == kind) names.push_back(key.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

Result<> apply(std::string_view name, std::string_view value, NetConfig& to) {
  const auto key = std::ranges::find(kKeys, name, &Key::name);
  if (key == std::end(kKeys))
    return fail(ErrorCode::kInvalidArgument, "'{}': unknown; a '{}' network has: {}", name,
                kind_name(to.kind), keys_of(kind_name(to.kind)));
  if (!key->kind.empty() && key->kind != kind_name(to.kind))
    return fail(ErrorCode::kInvalidArgument, "'{}': belongs to a '{}' network, not to '{}', which has: {}",
                name, key->kind, kind_name(to.kind), keys_of(kind_name(to.kind)));
  return key->apply(to, name, value);
}

}  // namespace

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "none";
    case Kind::kUser:
      return "user";
    case Kind::kTap:
      return "tap";
    case Kind::kSwitch:
      return "switch";
  }
  return "?";
}

Result<NetConfig> parse_net(std::string_view text) {
  NetConfig config;
  std::string_view rest = text;
  const std::string_view kind = take_until(rest, ',');
  bool known = false;
  for (const Kind candidate : {Kind::kNone, Kind::kUser, Kind::kTap, Kind::kSwitch})
    if (kind == kind_name(candidate)) {
      config.kind = candidate;
      known = true;
    }
  if (!known)
    return fail(
        ErrorCode::kInvalidArgument,
        "'{}': expected a kind of network first: user, tap, switch or none, as in user,forward=tcp:2222:22",
        kind);
  VELLUM_TRY(for_each_pair(rest, "restrict=on", [&](std::string_view key, std::string_view value) {
    return apply(key, value, config);
  }));
  if (config.kind == Kind::kSwitch && config.path.empty())
    return fail(ErrorCode::kInvalidArgument,
                "'{}': which switch? Guests meet at a path, as in switch,path=/tmp/lan0.sock", text);
  if (config.model == NetConfig::Model::kE1000 && config.queues != 1)
    return fail(ErrorCode::kInvalidArgument, "queues={}: an e1000 has one pair; model=virtio has more",
                config.queues);
  return config;
}

Result<> check_nets(const std::vector<NetConfig>& nets) {
  if (nets.size() > kMaxNets)
    return fail(ErrorCode::kInvalidArgument, "--net: {} cards; at most {} are supported", nets.size(),
                kMaxNets);
  for (std::size_t i = 0; i < nets.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      if (nets[i].mac && nets[i].mac == nets[j].mac)
        return fail(ErrorCode::kInvalidArgument, "--net: two cards have mac={}; give each its own",
                    to_string(*nets[i].mac));
      for (const PortForward& a : nets[i].forwards)
        for (const PortForward& b : nets[j].forwards)
          if (a.udp == b.udp && a.host_port == b.host_port && a.host_address == b.host_address)
            return fail(ErrorCode::kInvalidArgument,
                        "--net: two cards forward host port {}; a port leads to one", a.host_port);
    }
  return {};
}

}  // namespace vellum::net
