// Does this /dev/kvm run a guest, and at the processor's speed? That it exists proves nothing: there are
// software implementations that cannot run an ordinary kernel, run it as slowly as an interpreter, or hang.
//
// Three pieces of code in a machine of 64 KiB: real mode (a port exit), protected mode (an MMIO exit), long
// mode (a page fault whose handler repairs it, MSRs, and a loop that is timed against the same loop run
// here).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "cpu/kvm/api.hpp"

namespace vellum::kvm {

/// How long things may take, in milliseconds. On any real KVM all of it takes some 3.
struct Patience {
  unsigned snippet_ms = 20;
  unsigned total_ms = 80;
  /// `factor` times that.
  static Patience times(unsigned factor) { return {20 * factor, 80 * factor}; }
};

struct SelfTestResult {
  bool passed = false;
  std::string reason;  ///< why not: one clause, as in "the long-mode test did not end within 20 ms"
  u64 ns = 0;          ///< what it took
};

/// The guest's loop may take so many times what it takes here.
inline constexpr u64 kSlowest = 4;

/// Runs the tests in this process. `clock` in nanoseconds. Gives up a test whose KVM_RUN can be kicked; one
/// that cannot is the business of run_self_test().
SelfTestResult self_test_here(KvmApi& api, const Patience& patience, const std::function<u64()>& clock);

/// The same in a child process, which is killed if it has not answered in time. Nothing if there is no
/// /dev/kvm.
std::optional<SelfTestResult> run_self_test(KvmApi& api, const Patience& patience);

}  // namespace vellum::kvm
