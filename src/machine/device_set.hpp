// Owns the parts of a board without knowing what they are: keeps each alive, and remembers which have state
// to save and counters to read. Parts are destroyed in the reverse order of their making.
#pragma once

#include <concepts>
#include <memory>
#include <vector>

#include "base/snapshot.hpp"
#include "base/stats.hpp"
#include "io/io_context.hpp"

namespace vellum {

class DeviceSet {
 public:
  DeviceSet() = default;
  DeviceSet(const DeviceSet&) = delete;
  DeviceSet& operator=(const DeviceSet&) = delete;
  ~DeviceSet() { clear(); }

  void clear() {
    stateful_.clear(), counting_.clear(), quiescable_.clear();
    while (!owned_.empty()) owned_.pop_back();
  }

  /// Makes a Device from its resources and keeps it.
  template <class Device, class... Resources>
  Device& make(Resources&&... resources) {
    auto device = std::make_shared<Device>(std::forward<Resources>(resources)...);
    if constexpr (std::derived_from<Device, Snapshottable>) stateful_.push_back(device.get());
    if constexpr (std::derived_from<Device, StatSource>) counting_.push_back(device.get());
    if constexpr (std::derived_from<Device, Quiescable>) quiescable_.push_back(device.get());
    owned_.push_back(device);
    return *device;
  }

  /// In the order of their making.
  const std::vector<const Snapshottable*>& stateful() const { return stateful_; }
  const std::vector<const StatSource*>& counting() const { return counting_; }
  const std::vector<Quiescable*>& quiescable() const { return quiescable_; }

 private:
  std::vector<std::shared_ptr<void>> owned_;
  std::vector<const Snapshottable*> stateful_;
  std::vector<const StatSource*> counting_;
  std::vector<Quiescable*> quiescable_;
};

/// Saved states, taken one by one in the order in which they were saved; or none, at power-on.
class StateQueue {
 public:
  explicit StateQueue(std::span<const SavedState> saved) : rest_(saved), restoring_(!saved.empty()) {}

  bool restoring() const { return restoring_; }
  /// The next saved state, or `fresh` at power-on. After a failure: `fresh`, and status() says what failed.
  template <class State>
  State next(const State& fresh = State()) {
    if (!restoring_ || !status_) return fresh;
    if (rest_.empty()) {
      status_ = fail(ErrorCode::kBadInput, "the saved state ends before '{}'", State::kKind);
      return fresh;
    }
    auto state = decode_state<State>(rest_.front());
    rest_ = rest_.subspan(1);
    if (state) return std::move(*state);
    status_ = tl::unexpected(std::move(state).error());
    return fresh;
  }
  /// After the last next(): fails too if something is left over.
  Result<> finish() const {
    VELLUM_TRY(status_);
    if (!rest_.empty())
      return fail(ErrorCode::kBadInput, "the saved state has a '{}' that this machine lacks",
                  rest_.front().kind);
    return {};
  }

 private:
  std::span<const SavedState> rest_;
  bool restoring_;
  Result<> status_;
};

}  // namespace vellum
