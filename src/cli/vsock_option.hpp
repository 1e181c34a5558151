// The value of --vsock: PATH[,cid=N].
#pragma once

#include <string_view>

#include "base/result.hpp"
#include "machine/config.hpp"

namespace vellum::cli {

/// Errors are for the caller to prefix with the option.
Result<VsockConfig> parse_vsock(std::string_view text);

}  // namespace vellum::cli
