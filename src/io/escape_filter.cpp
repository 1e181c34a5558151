#include "io/escape_filter.hpp"

namespace vellum {

bool EscapeFilter::feed(std::span<const u8> in, u64 now_ms, std::vector<u8>& out) {
  expire(now_ms, out);
  for (const u8 byte : in) {
    if (byte == kEscape) {
      if (held_since_ms_) return true;
      held_since_ms_ = now_ms;
      continue;
    }
    if (held_since_ms_) {
      out.push_back(kEscape);
      held_since_ms_.reset();
    }
    out.push_back(byte);
  }
  return false;
}

void EscapeFilter::expire(u64 now_ms, std::vector<u8>& out) {
  if (!held_since_ms_ || now_ms - *held_since_ms_ < kWindowMs) return;
  out.push_back(kEscape);
  held_since_ms_.reset();
}

std::optional<u64> EscapeFilter::deadline_ms() const {
  if (!held_since_ms_) return std::nullopt;
  return *held_since_ms_ + kWindowMs;
}

}  // namespace vellum
