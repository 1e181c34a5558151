// Everything that is pending for a vCPU is a bit in one atomic word, tested before guest entry and between
// units. Any thread may set a bit; a halted vCPU wakes, and a running one is kicked out of the guest where
// its engine cannot look at the word by itself.
#pragma once

#include <atomic>
#include <optional>

#include "base/int.hpp"

namespace vellum {

/// What gets a vCPU out of guest code that does not look at the word by itself.
class Kicker {
 public:
  virtual ~Kicker() = default;
  /// Any thread, under locks of devices; must not call back nor wait.
  virtual void kick() = 0;
};

class Hazards {
 public:
  enum Bit : u32 {
    kInterrupt = 1 << 0,  ///< the local APIC (or the PIC through it) may have a vector to deliver
    kNmi = 1 << 1,
    kInit = 1 << 2,
    kSipi = 1 << 3,
    kSmi = 1 << 4,
    kStop = 1 << 5,         ///< leave run() with exit::Interrupted: pause, power-off, reset
    kTlbFlush = 1 << 6,     ///< drop all cached translations (an alias or mapping changed from outside)
    kCodeChanged = 1 << 7,  ///< code that the engine translated was overwritten
  };

  u32 load() const { return word_.load(std::memory_order_relaxed); }
  u32 load_seq_cst() const { return word_.load(std::memory_order_seq_cst); }
  bool test(Bit b) const { return (word_.load(std::memory_order_acquire) & b) != 0; }
  void set(Bit b) {
    if ((word_.fetch_or(b, std::memory_order_seq_cst) & b) != 0) return;
    if (asleep_.load(std::memory_order_seq_cst)) wake();
    if (kicker_ != nullptr) kicker_->kick();
  }
  /// Returns whether it was set.
  bool clear(Bit b) { return (word_.fetch_and(~u32{b}, std::memory_order_seq_cst) & b) != 0; }
  /// Sleeps while the word is `seen`, until `until` of the host's CLOCK_MONOTONIC at the latest (a halted
  /// vCPU's sleep). May return early. One thread at a time.
  void wait(u32 seen, std::optional<u64> until = std::nullopt);

  /// The word, for translated code that compares it with 0.
  const void* address() const { return &word_; }

  /// Whom to call when a bit is set that was not; or nullptr. While no other thread sets one.
  void set_kicker(Kicker* kicker) { kicker_ = kicker; }

  /// The same with nullptr, if it is this one.
  void drop_kicker(const Kicker& kicker) {
    if (kicker_ == &kicker) kicker_ = nullptr;
  }

  /// The start-up IPI's vector. Whoever sends one stores it here, then sets kSipi.
  std::atomic<u8> sipi_vector{0};

 private:
  void wake();

  std::atomic<u32> word_{0};
  std::atomic<bool> asleep_{false};
  Kicker* kicker_ = nullptr;
};

}  // namespace vellum
