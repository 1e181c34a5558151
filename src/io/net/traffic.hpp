// What a network counts.
#pragma once

#include <string>

#include "base/stats.hpp"

namespace vellum::net {

/// Written on the loop's thread.
struct Traffic {
  Counter from_guest, from_guest_bytes, to_guest, to_guest_bytes, dropped;

  void sent(std::size_t bytes) { from_guest.add(), from_guest_bytes.add(bytes); }
  void received(std::size_t bytes) { to_guest.add(), to_guest_bytes.add(bytes); }
  void stats(const std::string& group, std::vector<StatRow>& rows) const {
    rows.push_back({group, "frames from the guest", from_guest.get(), 0});
    rows.push_back({group, "bytes from the guest", from_guest_bytes.get(), 0});
    rows.push_back({group, "frames to the guest", to_guest.get(), 0});
    rows.push_back({group, "bytes to the guest", to_guest_bytes.get(), 0});
    rows.push_back({group, "frames dropped", dropped.get(), 0});
  }
};

}  // namespace vellum::net
