// From what the user asked for to a network that a card can be connected to.
#pragma once

#include <memory>

#include "base/fd.hpp"
#include "io/event_loop.hpp"
#include "io/net/net_config.hpp"
#include "io/net/network.hpp"

namespace vellum::net {

/// While the loop does not run yet. Errors begin with "--net KIND".
Result<std::unique_ptr<Network>> create_network(EventLoop& loop, const NetConfig& config);

/// The addresses of a machine's cards: the user's, and for the rest ones that differ within the machine.
/// Between machines they differ where cards could meet: a tap's follows from its ifname=, a switch's from its
/// path and the lowest place there that no VM has (so from the order in which they start); `places` keeps
/// those for this process. All others (also a tap's without ifname=) count up from the same number in each
/// machine.
std::vector<MacAddress> card_addresses(const std::vector<NetConfig>& nets,
                                       std::vector<FileDescriptor>& places);

}  // namespace vellum::net
