// Keeps vCPUs out of the guest while its memory slots change: a slot that is gone for a moment looks like a
// device, from which the kernel can neither fetch instructions nor read page tables.
//
//   vCPU                          who changes
//   in the guest = true           closed = true
//   closed? then out, and wait    in the guest? kick, until it is out
//
// Each side writes before it reads what the other writes (sequentially consistent), as with hazards.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "cpu/kvm/kick.hpp"

namespace vellum::kvm {

class EntryGate {
 public:
  // While no change is under way.
  void add(VcpuKicker& vcpu);
  void remove(VcpuKicker& vcpu);

  /// On a vCPU's thread, after VcpuKicker::enter(): if it is closed, leave() and wait().
  bool closed() const { return closed_.load(std::memory_order_seq_cst); }
  void wait() { const std::scoped_lock until_open(mutex_); }

  /// Runs `work` while no vCPU is in the guest. Any thread that is not; may wait for another's work.
  template <class Work>
  auto while_closed(Work work) {
    const std::scoped_lock lock(mutex_);
    struct Closed {
      EntryGate& gate;
      explicit Closed(EntryGate& g) : gate(g) { gate.close(); }
      ~Closed() { gate.closed_.store(false, std::memory_order_seq_cst); }
    } closed(*this);
    return work();
  }

 private:
  void close();

  std::mutex mutex_;  // held while closed; vcpus_. A leaf but for what `work` takes
  std::atomic<bool> closed_{false};
  std::vector<VcpuKicker*> vcpus_;
};

}  // namespace vellum::kvm
