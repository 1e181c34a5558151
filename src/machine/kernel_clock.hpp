// The clock that KVM offers its guests (Documentation/virt/kvm/x86/msr.rst): a page of each vCPU's, named by
// an MSR, in which the host's kernel keeps up to date how the TSC becomes nanoseconds. Here is what it needs
// around it: it starts with guest time, and goes on where a saved machine stood.
#pragma once

#include <vector>

#include "base/clock.hpp"
#include "base/snapshot.hpp"
#include "cpu/kvm/engine.hpp"

namespace vellum {

class KernelClock final : public Snapshottable {
 public:
  struct State {
    static constexpr std::string_view kKind = "kvm-clock";
    static constexpr u32 kVersion = 1;
    u64 now_ns = 0;
    std::vector<u64> pages;  ///< each vCPU's MSR
    template <class V>
    void visit(V& v) {
      v(now_ns), v(pages);
    }
  };
  /// At power-on the time is guest time.
  static State power_on(const Clock& clock) { return {clock.now_ns(), {}}; }

  KernelClock(const kvm::Vm& vm, const State& state) : vm_(vm), start_(state) {}

  /// Sets the clock and the vCPUs' pages. Once their engines are there, with their TSCs, and before they run.
  Result<> connect(std::vector<kvm::KvmEngine*> engines);
  /// While no vCPU runs.
  SavedState save() const override;

 private:
  const kvm::Vm& vm_;
  const State start_;
  std::vector<kvm::KvmEngine*> engines_;
};

}  // namespace vellum
