// MSRs that a guest on /dev/kvm can have changed and VcpuState has no place for, as the software engines lack
// them: what IA32_ARCH_CAPABILITIES and AMD's leaves offer against speculation is the host's here
// (cpu/kvm/cpuid.cpp), and so are its registers. They go along with a saved machine.
#pragma once

#include <vector>

#include "base/snapshot.hpp"
#include "cpu/kvm/engine.hpp"

namespace vellum {

class KernelMsrs final : public Snapshottable {
 public:
  struct State {
    static constexpr std::string_view kKind = "kvm-msrs";
    static constexpr u32 kVersion = 1;
    std::vector<u32> numbers;
    std::vector<u64> values;  ///< vCPU by vCPU, in the order of `numbers`
    template <class V>
    void visit(V& v) {
      v(numbers), v(values);
    }
  };

  explicit KernelMsrs(State state) : start_(std::move(state)) {}

  /// Sets the vCPUs' registers. Once the engines are there, and before they run. Fails where a value cannot
  /// be set that the register has not anyhow, or that is not one of ours.
  Result<> connect(std::vector<kvm::KvmEngine*> engines);
  /// While no vCPU runs.
  SavedState save() const override;

 private:
  const State start_;
  std::vector<kvm::KvmEngine*> engines_;
};

}  // namespace vellum
