// Runs cases on the host CPU itself, in a child process that holds nothing but the address space of case.hpp.
//
// The child lives in its signal handler: it puts the next case's state into the signal frame, with TF set,
// and returns; the processor runs one instruction and traps (or faults) back into the handler, which reads
// the outcome from the new frame. A seccomp filter ends the child on any other system call than those this
// takes. What of its own is left there (native_child.hpp), besides the case's memory, is known, and checked
// at the start.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "base/fd.hpp"
#include "case.hpp"
#include "native_child.hpp"

namespace vellum::differential {

/// What cannot be tried on a host: a kernel, or a hypervisor below it, may not let user code have it.
struct HostLimits {
  bool no_compat = false;           ///< no 32-bit code
  bool only_canonical_rsp = false;  ///< a signal does not return to a non-canonical stack pointer
};

class NativeRunner {
 public:
  static Result<std::unique_ptr<NativeRunner>> create();
  ~NativeRunner();

  /// Runs up to kBatch cases; outcomes in the same order. An error if the child died.
  Result<> run(std::span<const Case> cases, std::span<Outcome> outcomes);
  /// Finds out by a NOP each.
  Result<HostLimits> probe();
  /// Whether an access there meets the rig's memory, its program or the kernel's vsyscall page: what comes of
  /// such a case says nothing, and the child may be damaged.
  bool is_own_memory(u64 address) const;
  /// Processor time of the child, in seconds.
  double seconds() const;

 private:
  NativeRunner() = default;
  Result<> examine_memory();
  Mapping mapping_;
  Shared* shared_ = nullptr;
  int child_ = -1;
  std::vector<Range> own_;
};

}  // namespace vellum::differential
