// Completion scripts for shells, generated from the option table.
#pragma once

#include <string>
#include <string_view>

#include "base/result.hpp"

namespace vellum::cli {

/// `shell`: "bash", "zsh" or "fish".
Result<std::string> completion_script(std::string_view shell);

}  // namespace vellum::cli
