// Whether a vCPU's state is one that a processor can be in. What comes from outside (a saved machine, a
// migration stream) passes here before an engine gets it: engines rely on what the architecture guarantees.
#pragma once

#include "base/result.hpp"
#include "cpu/state.hpp"
#include "x86/cpu_model.hpp"

namespace vellum {

/// The rules of VM entry's checks on guest state (SDM vol. 3C §26.3.1), so far as a processor itself keeps to
/// them whatever software does. kBadInput: names the first rule that is broken.
Result<> check_state(const VcpuState& state, const x86::CpuModel& model);

}  // namespace vellum
