#include "cli/size.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <optional>

namespace vellum::cli {
namespace {

std::optional<unsigned> shift_of_unit(std::string_view unit) {
  if (unit.empty()) return 20;
  const char letter = static_cast<char>(std::toupper(static_cast<unsigned char>(unit.front())));
  const std::string_view rest = unit.substr(1);
  if (!rest.empty() && rest != "B" && rest != "b" && rest != "iB") return std::nullopt;
  switch (letter) {
    case 'K':
      return 10;
    case 'M':
      return 20;
    case 'G':
      return 30;
    case 'T':
      return 40;
    default:
      return std::nullopt;
  }
}

}  // namespace

Result<u64> parse_size(std::string_view text) {
  const auto digits_end = std::ranges::find_if(text, [](unsigned char c) { return std::isdigit(c) == 0; });
  const std::string_view whole(text.begin(), digits_end);
  std::string_view rest(digits_end, text.end());
  u64 number = 0;
  const auto [end, error] = std::from_chars(whole.data(), whole.data() + whole.size(), number);
  if (whole.empty())
    return fail(ErrorCode::kInvalidArgument, "'{}': not a size; give a number and K, M, G or T, as in 512M",
                text);
  if (error != std::errc{}) return fail(ErrorCode::kInvalidArgument, "'{}': far too large", text);

  // The fraction, in 2^-64 parts rounded down, so that 1.5G is exact.
  u128 fraction = 0;
  if (rest.starts_with('.')) {
    rest.remove_prefix(1);
    u128 scale = u128{1} << 64;
    const auto fraction_end =
        std::ranges::find_if(rest, [](unsigned char c) { return std::isdigit(c) == 0; });
    const std::string_view digits(rest.begin(), fraction_end);
    if (digits.empty() || digits.size() > 9)
      return fail(ErrorCode::kInvalidArgument, "'{}': not a size; give a number and K, M, G or T, as in 512M",
                  text);
    u64 value = 0, ten = 1;
    for (const char digit : digits) {
      value = value * 10 + static_cast<u64>(digit - '0');
      ten *= 10;
    }
    fraction = (scale * value + ten - 1) / ten;
    rest = std::string_view(fraction_end, rest.end());
  }

  const auto shift = shift_of_unit(rest);
  if (!shift)
    return fail(ErrorCode::kInvalidArgument, "'{}': unknown unit '{}'; use K, M, G or T, as in 512M", text,
                rest);
  if (number > (~u64{0} >> *shift)) return fail(ErrorCode::kInvalidArgument, "'{}': far too large", text);
  return (number << *shift) + static_cast<u64>((fraction << *shift) >> 64);
}

Result<u64> parse_count(std::string_view text, u64 low, u64 high) {
  u64 number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const bool all_digits =
      !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return std::isdigit(c) != 0; });
  if (!all_digits) return fail(ErrorCode::kInvalidArgument, "'{}': not a whole number", text);
  if (error != std::errc{} || number < low || number > high)
    return fail(ErrorCode::kInvalidArgument, "'{}': must be from {} to {}", text, low, high);
  return number;
}

}  // namespace vellum::cli
