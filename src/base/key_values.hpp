// What users write as "key=value,key=value", taken apart, and the kinds of values that occur again and again.
// Errors are one line, for the caller to prefix with the option.
#pragma once

#include <charconv>
#include <functional>
#include <string_view>

#include "base/result.hpp"

namespace vellum {

/// What stands before the first `separator` (all of it if there is none). Leaves what comes behind that.
std::string_view take_until(std::string_view& text, char separator);

/// Calls `apply` with each pair until one is refused. `example`: a pair, for the error of text that is none.
Result<> for_each_pair(std::string_view text, std::string_view example,
                       const std::function<Result<>(std::string_view key, std::string_view value)>& apply);

/// Whether all of the text is a number that fits.
template <class N>
bool parse_number(std::string_view text, N& number, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Result<bool> on_off(std::string_view key, std::string_view value);

}  // namespace vellum
