// Takes doorbells as an engine does, and remembers where they are.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "memory/doorbell.hpp"

namespace vellum::test {

class DoorbellLog final : public DoorbellTaker {
 public:
  unsigned add(std::function<void()> ring) override {
    rings.push_back(std::move(ring));
    return static_cast<unsigned>(rings.size() - 1);
  }
  void move(unsigned bell, const std::optional<DoorbellPlace>& place) override {
    ++moves;
    at.erase(bell);
    for (const auto& [other, where] : at) EXPECT_NE(where, place) << "two bells at one place";
    if (place) at[bell] = *place;
  }
  std::vector<std::function<void()>> rings;
  std::map<unsigned, DoorbellPlace> at;
  unsigned moves = 0;
};

}  // namespace vellum::test
