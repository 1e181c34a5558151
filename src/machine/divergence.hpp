// Lockstep: one guest on two engines, compared at intervals, down to the first instruction after which they
// differ.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "machine/config.hpp"
#include "machine/outcome.hpp"

namespace vellum {

struct LockstepRequest {
  MachineConfig machine;  ///< its engine is not looked at
  std::string engine_a, engine_b;
  u64 interval = 100'000;  ///< instructions between comparisons, at least 1
  u64 limit = ~u64{0};     ///< instructions after which to stop comparing
  /// For trying the comparison itself: at this position bit 0 of RBX of the first vCPU is flipped on side B.
  std::optional<u64> inject_at;
};

struct Divergence {
  u64 position = 0;  ///< instructions retired before the one that differs
  unsigned vcpu = 0;
  std::string instruction;               ///< address, bytes and text of it on side A, or what is known
  std::vector<std::string> differences;  ///< "rax  A 0000…  B 0000…", "device pit"
};

struct LockstepResult {
  u64 instructions = 0;  ///< compared
  u64 comparisons = 0;
  std::optional<Outcome> outcome;  ///< of both, if they ended
  std::optional<Divergence> divergence;
};

/// Compares until both end, the limit is reached, or they differ. What is compared: every register and device
/// state, the console's output, and (at every 64th comparison and at the end) all of RAM. `progress` hears
/// the position.
Result<LockstepResult> run_lockstep(const LockstepRequest& request, const std::function<void(u64)>& progress);

}  // namespace vellum
