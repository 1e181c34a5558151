#include "io/net/mac_table.hpp"

namespace vellum::net {

void MacTable::learn(const MacAddress& mac, unsigned port) {
  if (is_group(mac)) return;  // nobody sends from such an address
  const auto known = entries_.find(mac);
  if (known != entries_.end() && known->second.port == port) return;
  if (known != entries_.end()) {  // it moved: the cable was put into another port
    by_age_[known->second.port].erase(known->second.age);
    entries_.erase(known);
  }
  auto& ages = by_age_[port];
  if (ages.size() >= kPerPort) {
    entries_.erase(ages.front());
    ages.pop_front();
  }
  ages.push_back(mac);
  entries_.emplace(mac, Entry{port, std::prev(ages.end())});
}

std::optional<unsigned> MacTable::find(const MacAddress& mac) const {
  const auto entry = entries_.find(mac);
  if (entry == entries_.end()) return std::nullopt;
  return entry->second.port;
}

void MacTable::forget(unsigned port) {
  const auto ages = by_age_.find(port);
  if (ages == by_age_.end()) return;
  for (const MacAddress& mac : ages->second) entries_.erase(mac);
  by_age_.erase(ages);
}

}  // namespace vellum::net
