#include "cpu/bt/translation_cache.hpp"

#include <algorithm>
#include <span>

namespace vellum::bt {

namespace {

constexpr std::size_t kLargestUnit = 64 << 10;  // bytes of host code; 32 instructions come nowhere near
constexpr u32 kMostFarLinks = 4;                // of a unit: a conditional jump or a call has two

}  // namespace

bool Era::has_room() const {
  return code.room_for(kLargestUnit) && far_links + kMostFarLinks <= Context::kFarLinks && !thunks.full();
}

std::span<Translation* const> Era::starting_at(const CodePage* page, u64 linear) const {
  const auto of_page = by_page.find(page);
  if (of_page == by_page.end()) return {};
  const auto& all = of_page->second;
  const u64 offset = linear % kPageSize;
  const auto first = std::lower_bound(all.begin(), all.end(), offset, [](const Translation* t, u64 at) {
    return t->linear % kPageSize < at;
  });
  const auto last = std::upper_bound(first, all.end(), offset,
                                     [](u64 at, const Translation* t) { return at < t->linear % kPageSize; });
  return {first, last};
}

TranslationCache::TranslationCache(const Options& options, bool shared, bool first)
    : bytes_(options.cache_bytes),
      shared_(shared),
      era_(std::make_shared<Era>(1, bytes_)),
      perf_map_(options.perf_map, first) {}

void TranslationCache::flush() {
  const u32 next = era_->number + 1;
  era_ = std::make_shared<Era>(next, bytes_);
  number_.store(next, std::memory_order_release);
}

u64 TranslationCache::bytes_used() const {
  const std::lock_guard lock(mutex_);
  return era_->code.used();
}

}  // namespace vellum::bt
