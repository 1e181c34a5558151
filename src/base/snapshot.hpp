// State apart from resources: what every stateful object owes to save, restore and migration.
//
// A stateful object keeps its architectural state in one plain struct `State` with
//   static constexpr std::string_view kKind;  // unique, stable: "uart16550"
//   static constexpr u32 kVersion;            // raised when the fields change
//   template <class V> void visit(V& v) { v(field); v(other); }   // every field, in a fixed order
// save() encodes it; restoring *constructs* the object from a decoded State plus host resources. Encoding:
// each integer, enum and bool little-endian in its own width, containers with a u32 count first.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

struct SavedState {
  std::string kind;
  u32 version = 0;
  std::vector<u8> bytes;
};

class Snapshottable {
 public:
  virtual ~Snapshottable() = default;
  /// A consistent copy of the object's state. Thread-safe: takes the object's own lock.
  virtual SavedState save() const = 0;
};

class StateWriter {
 public:
  template <class T>
  void operator()(const T& value) {
    if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      auto raw = static_cast<u64>(value);
      for (std::size_t i = 0; i < sizeof(T); ++i, raw >>= 8) bytes.push_back(static_cast<u8>(raw));
    } else if constexpr (requires { value.has_value(); }) {
      (*this)(value.has_value());
      if (value) (*this)(*value);
    } else if constexpr (requires {
                           value.size();
                           value.begin();
                         }) {
      (*this)(static_cast<u32>(value.size()));
      for (const auto& element : value) (*this)(element);
    } else {
      const_cast<T&>(value).visit(*this);  // visit() of a writer does not write to the object
    }
  }
  std::vector<u8> bytes;
};

/// Reads what StateWriter wrote. Input is untrusted: on a short or oversized stream it sets `failed`, zeroes
/// what it could not read and never reads out of bounds.
class StateReader {
 public:
  explicit StateReader(std::span<const u8> bytes) : rest_(bytes) {}

  template <class T>
  void operator()(T& value) {
    if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      u64 raw = 0;
      if (rest_.size() < sizeof(T)) {
        failed = true;
        rest_ = {};
      } else {
        for (std::size_t i = 0; i < sizeof(T); ++i) raw |= u64{rest_[i]} << (8 * i);
        rest_ = rest_.subspan(sizeof(T));
      }
      value = static_cast<T>(raw);
    } else if constexpr (requires { value.has_value(); }) {
      bool present = false;
      (*this)(present);
      value.reset();
      if (present && !failed) (*this)(value.emplace());
    } else if constexpr (requires {
                           value.size();
                           value.begin();
                         }) {
      u32 count = 0;
      (*this)(count);
      if constexpr (requires { value.resize(count); }) {
        if (count > rest_.size()) {  // an element takes a byte at least
          failed = true;
          count = 0;
        }
        value.resize(count);
      } else if (count != value.size()) {
        failed = true;
        return;
      }
      for (auto& element : value) (*this)(element);
    } else {
      value.visit(*this);
    }
  }

  bool at_end() const { return rest_.empty(); }
  bool failed = false;

 private:
  std::span<const u8> rest_;
};

template <class State>
SavedState encode_state(const State& state) {
  StateWriter writer;
  writer(state);
  return {std::string(State::kKind), State::kVersion, std::move(writer.bytes)};
}

template <class State>
Result<State> decode_state(const SavedState& saved) {
  if (saved.kind != State::kKind)
    return fail(ErrorCode::kBadInput, "saved state is of '{}', not of '{}'", saved.kind, State::kKind);
  if (saved.version != State::kVersion)
    return fail(ErrorCode::kBadInput, "saved state of '{}' has version {}; this build reads version {}",
                saved.kind, saved.version, State::kVersion);
  StateReader reader(saved.bytes);
  State state{};
  reader(state);
  if (reader.failed || !reader.at_end())
    return fail(ErrorCode::kBadInput, "saved state of '{}' is damaged", saved.kind);
  return state;
}

}  // namespace vellum
