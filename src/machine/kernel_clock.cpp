#include "machine/kernel_clock.hpp"

#include <spdlog/spdlog.h>

#include <utility>

namespace vellum {

Result<> KernelClock::connect(std::vector<kvm::KvmEngine*> engines) {
  engines_ = std::move(engines);
  VELLUM_TRY(vm_.set_clock(start_.now_ns));
  if (start_.pages.empty()) return {};
  if (start_.pages.size() != engines_.size())
    return fail(ErrorCode::kBadInput, "the saved state has a clock of {} vCPUs, this machine has {}",
                start_.pages.size(), engines_.size());
  for (std::size_t n = 0; n < engines_.size(); ++n) VELLUM_TRY(engines_[n]->set_clock_page(start_.pages[n]));
  return {};
}

SavedState KernelClock::save() const {
  State state;
  const auto now = vm_.clock();
  if (!now) spdlog::error("{}", now.error().message);  // unheard of
  state.now_ns = now.value_or(start_.now_ns);
  for (const kvm::KvmEngine* engine : engines_) state.pages.push_back(engine->clock_page());
  return encode_state(state);
}

}  // namespace vellum
