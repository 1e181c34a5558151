// Everything that is pending for a vCPU is a bit in one atomic word, tested before guest entry and between
// units. Any thread may set a bit; a halted vCPU wakes.
#pragma once

#include <atomic>

#include "base/int.hpp"

namespace vellum {

class Hazards {
 public:
  enum Bit : u32 {
    kInterrupt = 1 << 0,  ///< the local APIC (or the PIC through it) may have a vector to deliver
    kNmi = 1 << 1,
    kInit = 1 << 2,
    kSipi = 1 << 3,
    kSmi = 1 << 4,
    kStop = 1 << 5,      ///< leave run() with exit::Interrupted: pause, power-off, reset
    kTlbFlush = 1 << 6,  ///< drop all cached translations (an alias or mapping changed from outside)
  };

  u32 load() const { return word_.load(std::memory_order_relaxed); }
  bool test(Bit b) const { return (word_.load(std::memory_order_acquire) & b) != 0; }
  void set(Bit b) {
    if ((word_.fetch_or(b, std::memory_order_seq_cst) & b) == 0) word_.notify_all();
  }
  /// Returns whether it was set.
  bool clear(Bit b) { return (word_.fetch_and(~u32{b}, std::memory_order_seq_cst) & b) != 0; }
  /// Blocks until the word is not 0 (a halted vCPU's sleep).
  void wait() const { word_.wait(0, std::memory_order_acquire); }

  /// The word, for translated code that compares it with 0.
  const void* address() const { return &word_; }

  /// The start-up IPI's vector. Whoever sends one stores it here, then sets kSipi.
  std::atomic<u8> sipi_vector{0};

 private:
  std::atomic<u32> word_{0};
};

}  // namespace vellum
