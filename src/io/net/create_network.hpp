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

/// The addresses of a machine's cards: the user's, and for the rest one that stays the same from run to run
/// and differs between the cards of a machine. On networks that connect VMs (tap, switch) it follows from the
/// interface's name or from the first free one of the path's places; `places` keeps those for this process.
std::vector<MacAddress> card_addresses(const std::vector<NetConfig>& nets,
                                       std::vector<FileDescriptor>& places);

}  // namespace vellum::net
