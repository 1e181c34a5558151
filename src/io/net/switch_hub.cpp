#include "io/net/switch_hub.hpp"

#include <algorithm>

namespace vellum::net {

unsigned SwitchHub::add(FrameSink& port) {
  ports_.emplace(next_, &port);
  return next_++;
}

void SwitchHub::remove(unsigned port) {
  ports_.erase(port);
  table_.forget(port);
}

void SwitchHub::forward(unsigned from, const Frame& frame) {
  std::array<u8, 12> addresses;
  if (copy_head(frame.pieces, addresses).size() < addresses.size()) return;
  MacAddress to, source;
  std::copy_n(addresses.begin(), 6, to.begin());
  std::copy_n(addresses.begin() + 6, 6, source.begin());
  table_.learn(source, from);
  if (!is_group(to)) {
    if (const auto port = table_.find(to)) {
      if (*port == from) return;
      if (const auto sink = ports_.find(*port); sink != ports_.end()) sink->second->put(frame);
      return;
    }
  }
  // A sink may go while it takes a frame (its peer hung up): the map is not walked by iterator.
  std::vector<unsigned> numbers;
  for (const auto& [number, sink] : ports_)
    if (number != from) numbers.push_back(number);
  for (const unsigned number : numbers)
    if (const auto sink = ports_.find(number); sink != ports_.end()) sink->second->put(frame);
}

}  // namespace vellum::net
