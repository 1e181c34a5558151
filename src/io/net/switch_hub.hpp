// The switch itself: ports, and which of them a frame goes to. It knows nothing of sockets.
#pragma once

#include <map>
#include <vector>

#include "io/net/mac_table.hpp"
#include "io/net/network.hpp"

namespace vellum::net {

class SwitchHub {
 public:
  /// `port` gets what is for it until remove(). Returns its number.
  unsigned add(FrameSink& port);
  void remove(unsigned port);

  /// A frame that came in at `from`: to the port of its destination, or to all others while that is not
  /// known. The frame fits its offload, and its pieces are not guest RAM: the switch decides by what they
  /// hold.
  void forward(unsigned from, const Frame& frame);

 private:
  std::map<unsigned, FrameSink*> ports_;
  unsigned next_ = 0;
  MacTable table_;
};

}  // namespace vellum::net
