// The one order of memory that x86 does not give by itself.
#pragma once

namespace vellum {

/// Our store before must be visible before our load after (x86 lets a load pass a store); stores and loads of
/// the other orders need nothing. Not std::atomic_thread_fence(), which ThreadSanitizer does not know, nor
/// MFENCE, which takes four times as long (23 ns instead of 6 on an AMD Zen 5) to order more than memory.
inline void store_load_barrier() {
  asm volatile("lock orl $0, (%%rsp)" ::: "memory", "cc");
}

}  // namespace vellum
