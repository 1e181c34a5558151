#include "machine/engine_choice.hpp"

#include <fmt/format.h>

#include "cpu/bt/options.hpp"

namespace vellum {

namespace {

EngineChoice without_kvm() {
  if (bt::host_can_translate()) return {"bt", {}};
  return {"interp",
          {"this processor has no BMI2, which translated code uses; the interpreter runs this machine"}};
}

}  // namespace

Result<EngineChoice> choose_engine(const MachineConfig& config, kvm::KvmApi& api) {
  const bool automatic = config.engine == "auto";
  if (config.engine == "bt" && !bt::host_can_translate())
    return fail(
        ErrorCode::kUnsupported,
        "--engine bt: this processor has no BMI2, which translated code uses; choose --engine interp");
  if (config.engine != "kvm" && !automatic) return EngineChoice{config.engine, {}};
  if (config.clock == ClockKind::kVirtual) return without_kvm();  // check_config() refuses kvm
  const auto result = kvm::run_self_test(api, kvm::Patience::times(config.kvm_patience));
  if (result && result->passed) return EngineChoice{"kvm", {}};
  if (!automatic) {
    if (!result)
      return fail(ErrorCode::kNotFound,
                  "--engine kvm: this host has no /dev/kvm; choose --engine bt, which needs none");
    return fail(ErrorCode::kUnsupported,
                "--engine kvm: /dev/kvm failed its self-test: {}; choose --engine bt", result->reason);
  }
  EngineChoice choice = without_kvm();
  if (result)
    choice.warnings.insert(
        choice.warnings.begin(),
        fmt::format("/dev/kvm failed its self-test: {}; the translator (--engine bt) runs this machine",
                    result->reason));
  return choice;
}

}  // namespace vellum
