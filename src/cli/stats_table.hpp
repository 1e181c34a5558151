// The table that --stats prints.
#pragma once

#include <string>
#include <vector>

#include "base/stats.hpp"

namespace vellum::cli {

/// Rows with equal group and name are summed (vCPUs, boards before a reset); those that stayed 0 are left
/// out. Groups keep the order in which they first appear, rows within them too.
std::string stats_table(const std::vector<StatRow>& rows);

}  // namespace vellum::cli
