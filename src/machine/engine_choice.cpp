#include "machine/engine_choice.hpp"

#include <spdlog/spdlog.h>

namespace vellum {

Result<std::string> choose_engine(const MachineConfig& config, kvm::KvmApi& api) {
  const bool automatic = config.engine == "auto";
  if (config.engine != "kvm" && !automatic) return config.engine;
  if (config.clock == ClockKind::kVirtual) return std::string("bt");  // check_config() refuses kvm
  const auto result = kvm::run_self_test(api, kvm::Patience::times(config.kvm_patience));
  if (result && result->passed) return std::string("kvm");
  if (!automatic) {
    if (!result)
      return fail(ErrorCode::kNotFound,
                  "--engine kvm: this host has no /dev/kvm; choose --engine bt, which needs none");
    return fail(ErrorCode::kUnsupported,
                "--engine kvm: /dev/kvm failed its self-test: {}; choose --engine bt", result->reason);
  }
  if (result)
    spdlog::warn("/dev/kvm failed its self-test: {}; the translator (--engine bt) runs this machine",
                 result->reason);
  return std::string("bt");
}

}  // namespace vellum
