// The host's GS base, which x86-64 user space leaves to whoever wants it: the vCPU thread's Context while it
// runs.
#pragma once

#include <asm/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/int.hpp"

namespace vellum::bt {

/// To be called before translated code runs on this thread. A thread that runs several vCPUs changes it each
/// time; one that runs one finds it set. Nothing else in this process sets it: to ask the kernel each time
/// cost a tenth of a short run.
inline void set_gs_base(const void* base) {
  thread_local const void* current = nullptr;
  if (current == base) return;
  syscall(SYS_arch_prctl, ARCH_SET_GS, base);
  current = base;
}

}  // namespace vellum::bt
