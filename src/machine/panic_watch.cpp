#include "machine/panic_watch.hpp"

#include <string_view>

namespace vellum {
namespace {

constexpr std::string_view kMark = "Kernel panic - not syncing";

}  // namespace

void PanicWatch::see(std::span<const u8> bytes) {
  std::scoped_lock lock(mutex_);
  if (message_) return;
  for (const u8 byte : bytes) {
    if (byte == '\n') {
      const auto at = line_.find(kMark);
      if (at != std::string::npos) {
        message_ = line_.substr(at);
        return;
      }
      line_.clear();
    } else if (byte >= 0x20 && byte < 0x7f && line_.size() < kMaxLine) {
      line_.push_back(static_cast<char>(byte));
    }
  }
}

std::optional<std::string> PanicWatch::message() const {
  std::scoped_lock lock(mutex_);
  if (message_) return message_;
  if (const auto at = line_.find(kMark); at != std::string::npos) return line_.substr(at);  // reset mid-line
  return std::nullopt;
}

}  // namespace vellum
