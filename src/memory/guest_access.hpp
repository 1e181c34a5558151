// Loads and stores of guest memory through host pointers.
//
// Guest memory is shared between vCPU threads exactly as on hardware: the guest's races are the guest's
// business, and its memory order is the host's own (both are x86, TSO). Each access is therefore one machine
// instruction, which the compiler neither splits, merges, reorders among its kind nor drops, at any
// alignment.
//
// SAFETY: inline assembly, because a C++ access to racing, unaligned memory would be undefined behaviour (and
// would be reported by the sanitizers, which rightly judge our own data only). Callers pass pointers into
// guest RAM that were checked to have sizeof(T) bytes behind them, or into buffers of their own.
#pragma once

#include "base/int.hpp"

namespace vellum {

namespace detail {
template <class T>
struct [[gnu::packed, gnu::may_alias]] Unaligned {
  T value;
};
}  // namespace detail

template <class T>
[[gnu::always_inline]] inline T guest_load(const void* p) {
  static_assert(sizeof(T) <= 8);
  T value;
  const auto& cell = *static_cast<const detail::Unaligned<T>*>(p);
  if constexpr (sizeof(T) == 1) {
    asm volatile("movb %1, %0" : "=q"(value) : "m"(cell.value));
  } else {
    asm volatile("mov %1, %0" : "=r"(value) : "m"(cell.value));
  }
  return value;
}

template <class T>
[[gnu::always_inline]] inline void guest_store(void* p, T value) {
  static_assert(sizeof(T) <= 8);
  auto& cell = *static_cast<detail::Unaligned<T>*>(p);
  if constexpr (sizeof(T) == 1) {
    asm volatile("movb %1, %0" : "=m"(cell.value) : "q"(value));
  } else {
    asm volatile("mov %1, %0" : "=m"(cell.value) : "r"(value));
  }
}

/// LOCK CMPXCHG of 1, 2, 4 or 8 bytes at any alignment. Returns whether `*p` was `expected`; if not, sets
/// `expected`.
template <class T>
[[gnu::always_inline]] inline bool guest_compare_exchange(void* p, T& expected, T desired) {
  static_assert(sizeof(T) <= 8);
  auto& cell = *static_cast<detail::Unaligned<T>*>(p);
  bool equal;
  if constexpr (sizeof(T) == 1) {
    asm volatile("lock cmpxchgb %3, %1"
                 : "=@ccz"(equal), "+m"(cell.value), "+a"(expected)
                 : "q"(desired)
                 : "memory");
  } else {
    asm volatile("lock cmpxchg %3, %1"
                 : "=@ccz"(equal), "+m"(cell.value), "+a"(expected)
                 : "r"(desired)
                 : "memory");
  }
  return equal;
}

/// Copies with `rep movsb`, unseen by the sanitizers for the reason above.
[[gnu::always_inline]] inline void guest_copy(void* to, const void* from, std::size_t size) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

}  // namespace vellum
