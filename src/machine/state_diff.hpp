// What differs between two vCPU states, in words.
#pragma once

#include <string>
#include <vector>

#include "cpu/state.hpp"

namespace vellum {

/// One line for each differing register: "rax  A 0000000000000001  B 0000000000000002".
std::vector<std::string> describe_differences(const VcpuState& a, const VcpuState& b);

}  // namespace vellum
