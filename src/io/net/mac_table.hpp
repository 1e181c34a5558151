// Which of a switch's ports leads to which address: learned from what comes in, forgotten when newer
// addresses need the place.
#pragma once

#include <list>
#include <map>
#include <optional>

#include "io/net/mac_address.hpp"

namespace vellum::net {

class MacTable {
 public:
  /// A port can fill no more than its share: a peer that invents addresses makes only its own be forgotten.
  static constexpr std::size_t kPerPort = 64;

  void learn(const MacAddress& mac, unsigned port);
  std::optional<unsigned> find(const MacAddress& mac) const;
  /// The port is gone.
  void forget(unsigned port);
  std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    unsigned port;
    std::list<MacAddress>::iterator age;
  };
  std::map<MacAddress, Entry> entries_;
  std::map<unsigned, std::list<MacAddress>> by_age_;  ///< of each port, oldest first
};

}  // namespace vellum::net
