// A whole file written at once.
#pragma once

#include <span>
#include <string>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

/// Creates the file or replaces what it holds. The error names it.
Result<> write_file(const std::string& path, std::span<const u8> bytes);

}  // namespace vellum
