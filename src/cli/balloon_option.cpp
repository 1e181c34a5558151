#include "cli/balloon_option.hpp"

#include "base/key_values.hpp"
#include "cli/size.hpp"

namespace vellum::cli {
namespace {

constexpr u64 kMaxSeconds = 24 * 60 * 60;

Result<> apply(BalloonConfig& balloon, std::string_view key, std::string_view value) {
  if (key == "deflate-on-oom") {
    VELLUM_TRY_ASSIGN_TO(balloon.deflate_on_oom, on_off(key, value));
  } else if (key == "free-page-reporting") {
    VELLUM_TRY_ASSIGN_TO(balloon.free_page_reporting, on_off(key, value));
  } else if (key == "stats") {
    VELLUM_TRY_ASSIGN(seconds, parse_count(value, 0, kMaxSeconds));
    balloon.stats_seconds = static_cast<unsigned>(seconds);
  } else {
    return fail(ErrorCode::kInvalidArgument,
                "'{}': unknown; after the size come deflate-on-oom, free-page-reporting, stats", key);
  }
  return {};
}

}  // namespace

Result<BalloonConfig> parse_balloon(std::string_view text) {
  BalloonConfig balloon;
  std::string_view rest = text;
  const std::string_view size = take_until(rest, ',');
  if (size.empty() || size.find('=') != size.npos)
    return fail(ErrorCode::kInvalidArgument, "'{}': it begins with a size, as in 256M or 0", text);
  if (size != "0") VELLUM_TRY_ASSIGN_TO(balloon.size, parse_size(size));
  VELLUM_TRY(for_each_pair(rest, "stats=10", [&](std::string_view key, std::string_view value) {
    return apply(balloon, key, value);
  }));
  return balloon;
}

}  // namespace vellum::cli
