#include "machine/kernel_msrs.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace vellum {
namespace {

// Those of KVM's (arch/x86/kvm/x86.c, svm.c) that a guest may write, that do not come with a feature which no
// CPU model here has, and that are neither VcpuState's nor answered in user space.
constexpr std::array<u32, 5> kNumbers{
    0x122,       // IA32_TSX_CTRL
    0x140,       // MISC_FEATURES_ENABLES: CPUID faulting
    0xc0010015,  // HWCR
    0xc001011f,  // VIRT_SPEC_CTRL
    0xc0011029,  // DE_CFG: whether LFENCE serializes
};

}  // namespace

Result<> KernelMsrs::connect(std::vector<kvm::KvmEngine*> engines) {
  engines_ = std::move(engines);
  if (start_.values.size() != start_.numbers.size() * engines_.size() && !start_.numbers.empty())
    return fail(ErrorCode::kBadInput, "the saved state has {} MSRs of the host's for {} vCPUs, {} each",
                start_.values.size(), engines_.size(), start_.numbers.size());
  auto value = start_.values.begin();
  for (kvm::KvmEngine* engine : engines_) {
    for (const u32 number : start_.numbers) {
      const u64 wanted = *value++;
      u64 now = 0;
      const bool known = std::ranges::find(kNumbers, number) != kNumbers.end();
      if (known && engine->msr(number, now) && now == wanted) continue;
      if (!known || !engine->set_msr(number, wanted))
        return fail(ErrorCode::kUnsupported,
                    "the saved state has {:#x} in MSR {:#x}, which this host's /dev/kvm does not take",
                    wanted, number);
    }
  }
  return {};
}

SavedState KernelMsrs::save() const {
  State state;
  u64 value = 0;
  for (const u32 number : kNumbers)
    if (!engines_.empty() && engines_.front()->msr(number, value)) state.numbers.push_back(number);
  for (const kvm::KvmEngine* engine : engines_)
    for (const u32 number : state.numbers) state.values.push_back(engine->msr(number, value) ? value : 0);
  return encode_state(state);
}

}  // namespace vellum
