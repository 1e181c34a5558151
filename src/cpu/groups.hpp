// Copying named register groups between two states (Engine::pull and push).
#pragma once

#include "cpu/engine.hpp"

namespace vellum {

void copy_groups(StateMask groups, const VcpuState& from, VcpuState& to);

}  // namespace vellum
