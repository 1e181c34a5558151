// Faults of the host in translated code: SIGSEGV and SIGBUS go to whoever runs translated code on the thread
// (docs/design/signals.md).
#pragma once

#include <ucontext.h>

#include "base/int.hpp"

namespace vellum::bt {

/// Takes a host fault in translated code, in the signal's handler: only what is async-signal-safe may be
/// done.
class HostFaultTaker {
 public:
  /// Changes the interrupted registers so that the thread goes on elsewhere. False: the fault is not this
  /// taker's.
  virtual bool take_host_fault(gregset_t& registers) = 0;

 protected:
  ~HostFaultTaker() = default;
};

/// While this lives, faults on this thread are offered to `taker`. The first one installs the handlers, in
/// front of those that are there. Nests.
class HostFaultScope {
 public:
  explicit HostFaultScope(HostFaultTaker& taker);
  ~HostFaultScope();
  HostFaultScope(const HostFaultScope&) = delete;
  HostFaultScope& operator=(const HostFaultScope&) = delete;

 private:
  HostFaultTaker* outer_;
};

}  // namespace vellum::bt
