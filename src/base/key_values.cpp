#include "base/key_values.hpp"

#include <algorithm>

namespace vellum {

std::string_view take_until(std::string_view& text, char separator) {
  const std::string_view item = text.substr(0, text.find(separator));
  text.remove_prefix(std::min(text.size(), item.size() + 1));
  return item;
}

Result<> for_each_pair(std::string_view text, std::string_view example,
                       const std::function<Result<>(std::string_view key, std::string_view value)>& apply) {
  while (!text.empty()) {
    const std::string_view item = take_until(text, ',');
    std::string_view value = item;
    const std::string_view key = take_until(value, '=');
    if (key.size() == item.size())
      return fail(ErrorCode::kInvalidArgument, "'{}': expected key=value, as in {}", item, example);
    VELLUM_TRY(apply(key, value));
  }
  return {};
}

Result<bool> on_off(std::string_view key, std::string_view value) {
  if (value == "on" || value == "off") return value == "on";
  return fail(ErrorCode::kInvalidArgument, "{}={}: expected on or off", key, value);
}

}  // namespace vellum
