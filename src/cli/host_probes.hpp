// Looks at the host for `vellum doctor`. Each probe opens, asks and closes again; nothing is changed.
#pragma once

#include <vector>

#include "cli/findings.hpp"

namespace vellum::cli {

/// `kvm_patience`: as --kvm patience.
std::vector<Finding> examine_host(unsigned kvm_patience);

}  // namespace vellum::cli
