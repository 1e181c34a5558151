// A number for the conversation that a frame belongs to: the same for both directions.
#pragma once

#include "io/net/frame.hpp"

namespace vellum::net {

/// From the IP addresses and TCP's or UDP's ports, as far as the frame has them; 0 for other frames. Reads
/// the headers once, from a copy.
u8 flow_of(std::span<const iovec> pieces);

}  // namespace vellum::net
