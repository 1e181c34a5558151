// What becomes of a unit, and the jumps from one to the next. Both live as long as their Era
// (translation_cache.hpp); what is not said to be anybody's is guarded by TranslationCache's lock.
#pragma once

#include <atomic>

#include "cpu/bt/context.hpp"

namespace vellum::bt {

inline constexpr u32 kNoLink = ~0u;  ///< the end of a list of links
inline constexpr u32 kUnlisted = ~0u - 1;

/// A unit's code for one guest-virtual address.
struct Translation {
  u64 linear = 0;
  // Constant once it is known to others:
  const u8* linked = nullptr;
  const u8* entered = nullptr;
  const u8* checked = nullptr;  ///< as `linked`, if `vectors` are known to be loaded; may be nullptr
  u32 vectors = 0;
  const u8* refuse = nullptr;  ///< leaves with RIP at the unit's start
  bool hot = false;
  bool wide = true;  ///< 64-bit code
  // What it was made from: valid while these are the pages' generations.
  const CodePage* page = nullptr;
  const CodePage* second = nullptr;
  u32 generation = 0, second_generation = 0;

  std::atomic<bool> stale{false};  ///< only leads to a later translation, or out. Read by any thread
  i32 runs_left = 0;       ///< negative: to be translated again. Translated code counts it down, unlocked
  u32 no_flat = 0;         ///< bit n: instruction n's memory operand is looked up although the unit is hot
  u32 no_share = 0;        ///< bit n: instruction n's memory operand shares no slot with others
  u32 bursts = 0;          ///< those of no_flat that are tried again after a while
  u8 retries = 0;          ///< how often they were
  u32 links_in = kNoLink;  ///< the first of the links that lead here

  bool valid() const {
    return page->generation.load(std::memory_order_acquire) == generation &&
           (second == nullptr || second->generation.load(std::memory_order_acquire) == second_generation);
  }
  /// Any thread.
  bool worn_out() { return std::atomic_ref(runs_left).load(std::memory_order_relaxed) < 0; }
  /// Whether both are of the code at the same places, guest-virtual and guest-physical.
  bool same_place(const Translation& other) const {
    return page == other.page && linear == other.linear && second == other.second && wide == other.wide;
  }
};

/// A direct jump from a unit, which is patched to lead to another one.
struct Link {
  static constexpr u32 kNear = ~0u;

  const u8* at = nullptr;  ///< the displacement of the jump
  u64 target = 0;
  u32 far = kNear;  ///< which of Context::far_serials says whether it may be taken; kNear: all within a page
  u32 vectors = 0;  ///< VectorBits that are known to be loaded there
  const Translation* to = nullptr;  ///< where it leads, unless that has been replaced since
  u32 next = kUnlisted;             ///< of those that lead to the same translation
};

}  // namespace vellum::bt
