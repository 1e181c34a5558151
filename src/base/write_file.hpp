// A whole file written at once.
#pragma once

#include <span>
#include <string>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

/// Creates the file or replaces what it holds. The error names it.
Result<> write_file(const std::string& path, std::span<const u8> bytes);

/// Whether write_file() will be allowed to, as far as can be told without touching anything.
Result<> check_writable(const std::string& path);

}  // namespace vellum
