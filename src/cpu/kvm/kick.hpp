// Getting a thread out of KVM_RUN: a signal whose handler does nothing interrupts the system call, and
// kvm_run::immediate_exit keeps it from beginning one that the signal came too early for.
#pragma once

#include <linux/kvm.h>
#include <sys/types.h>
#include <time.h>

#include <atomic>

#include "base/result.hpp"
#include "cpu/hazard.hpp"

namespace vellum::kvm {

/// The signal, with its handler installed.
int kick_signal();

/// Kicks the thread that runs one vCPU.
///
///   vCPU                               anyone
///   enter(): immediate_exit = 0        hazard bit = 1
///            in_guest = true           if in_guest: immediate_exit = 1, signal
///   hazards == 0? then KVM_RUN
///
/// Each side writes before it reads what the other writes (sequentially consistent), so that one of them sees
/// the other. A kick that comes late costs one entry that returns at once.
class VcpuKicker final : public Kicker {
 public:
  explicit VcpuKicker(kvm_run& run) : run_(run) {}
  void kick() override;

  /// On the vCPU's thread, before it looks at the hazards for the last time before KVM_RUN. `briefly`: that
  /// is to return at once, as if kicked already.
  void enter(bool briefly = false);
  void leave() { in_guest_.store(false, std::memory_order_release); }
  bool in_guest() const { return in_guest_.load(std::memory_order_seq_cst); }

 private:
  kvm_run& run_;
  std::atomic<pid_t> thread_{0};
  std::atomic<bool> in_guest_{false};
};

/// Sends the signal to the calling thread again and again from `first_ns` on, until destroyed: one of them
/// meets KVM_RUN.
class KickTimer {
 public:
  explicit KickTimer(u64 first_ns);
  ~KickTimer();
  KickTimer(const KickTimer&) = delete;
  KickTimer& operator=(const KickTimer&) = delete;
  /// Whether the host has such timers.
  bool armed() const { return armed_; }

 private:
  timer_t timer_{};
  bool created_ = false;  ///< any value is a timer's, 0 too
  bool armed_ = false;
};

}  // namespace vellum::kvm
