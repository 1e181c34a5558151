// The value of --balloon: SIZE[,KEY=VALUE...].
#pragma once

#include <string_view>

#include "base/result.hpp"
#include "machine/config.hpp"

namespace vellum::cli {

/// Errors are for the caller to prefix with the option.
Result<BalloonConfig> parse_balloon(std::string_view text);

}  // namespace vellum::cli
