// An Ethernet address.
#pragma once

#include <fmt/format.h>

#include <array>
#include <string>

#include "base/int.hpp"

namespace vellum::net {

using MacAddress = std::array<u8, 6>;

constexpr bool is_group(const MacAddress& mac) {
  return (mac[0] & 1) != 0;
}
inline constexpr MacAddress kBroadcast{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/// The addresses that cards get when the user gives none: 52:54:00 (locally administered, and known as that
/// of virtual machines) and 24 bits of `number`.
constexpr MacAddress numbered_mac(u32 number) {
  return {
      0x52, 0x54, 0x00, static_cast<u8>(number >> 16), static_cast<u8>(number >> 8), static_cast<u8>(number)};
}

inline std::string to_string(const MacAddress& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3], mac[4],
                     mac[5]);
}

}  // namespace vellum::net
