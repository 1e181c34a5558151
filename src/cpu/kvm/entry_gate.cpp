#include "cpu/kvm/entry_gate.hpp"

#include <algorithm>
#include <thread>

namespace vellum::kvm {

void EntryGate::add(VcpuKicker& vcpu) {
  const std::scoped_lock lock(mutex_);
  vcpus_.push_back(&vcpu);
}

void EntryGate::remove(VcpuKicker& vcpu) {
  const std::scoped_lock lock(mutex_);
  std::erase(vcpus_, &vcpu);
}

// Under mutex_.
void EntryGate::close() {
  closed_.store(true, std::memory_order_seq_cst);
  for (VcpuKicker* vcpu : vcpus_)
    while (vcpu->in_guest()) {
      vcpu->kick();
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
}

}  // namespace vellum::kvm
