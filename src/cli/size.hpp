// Sizes and counts as users write them.
#pragma once

#include <string_view>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum::cli {

/// "512M", "1G", "1.5G", "65536K", "1T", also with a B or iB after the unit; a bare number is MiB, as in
/// QEMU. Powers of 1024. Errors are "'512Q': unknown unit 'Q'; …", for the caller to prefix with the option.
Result<u64> parse_size(std::string_view text);

/// A whole number from `low` to `high`.
Result<u64> parse_count(std::string_view text, u64 low, u64 high);

}  // namespace vellum::cli
