// Ctrl-] twice within a second leaves a terminal console. A pure state machine: time comes in as an argument.
//
//   idle --Ctrl-]--> held --Ctrl-] within a second--> leave
//                    held --other byte--> idle, the Ctrl-] and the byte pass to the guest
//                    held --a second passes--> idle, the Ctrl-] passes to the guest
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/int.hpp"

namespace vellum {

class EscapeFilter {
 public:
  static constexpr u8 kEscape = 0x1d;  ///< Ctrl-]
  static constexpr u64 kWindowMs = 1000;

  /// Appends to `out` what the guest gets of `in`, typed at `now_ms` (any monotonic origin). Returns true
  /// when the user leaves; the rest of `in` is dropped then.
  bool feed(std::span<const u8> in, u64 now_ms, std::vector<u8>& out);
  /// Appends a held Ctrl-] to `out` when its second is over.
  void expire(u64 now_ms, std::vector<u8>& out);
  /// When expire() should be called next, or nothing.
  std::optional<u64> deadline_ms() const;

 private:
  std::optional<u64> held_since_ms_;
};

}  // namespace vellum
