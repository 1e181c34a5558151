// Reading, writing and modifying operands in handlers; choosing a handler by operand size.
#pragma once

#include <mutex>

#include "cpu/interp/insn.hpp"

namespace vellum::interp {

/// Writes a general register; a 32-bit write clears the upper half (SDM vol. 1 §3.4.1.1).
template <class T>
[[gnu::always_inline]] inline void write_reg(Vcpu& v, u16 offset, T value) {
  if constexpr (sizeof(T) == 4) {
    reg<u64>(v, offset) = value;
  } else {
    reg<T>(v, offset) = value;
  }
}

inline x86::Seg seg_of(const Insn& i) {
  return static_cast<x86::Seg>(i.seg);
}

/// What a handler returns after a store: the unit may have overwritten itself.
[[gnu::always_inline]] inline Flow after_store(const Vcpu& v) {
  return v.mmu.code_was_written ? Flow::kEndUnit : Flow::kNext;
}

template <class T>
[[gnu::always_inline]] inline bool load(Vcpu& v, const Insn& i, T& value) {
  u64 address;
  return linear_of(v, i, sizeof(T), Access::kRead, address) && v.mmu.read<T>(address, value, seg_of(i));
}

template <class T>
[[gnu::always_inline]] inline bool store(Vcpu& v, const Insn& i, T value) {
  u64 address;
  return linear_of(v, i, sizeof(T), Access::kWrite, address) && v.mmu.write<T>(address, value, seg_of(i));
}

/// A host pointer to an access that crosses into a page which is its neighbour in host memory too, both
/// writable now; else nullptr. The access has been probed.
template <class T>
u8* pointer_across_pages(Vcpu& v, u64 address, x86::Seg seg) {
  const auto first = static_cast<unsigned>(kPageSize - (address & kPageMask));
  if (first >= sizeof(T)) return nullptr;
  bool faulted;
  u8* const low = v.mmu.pointer_for_write(address, first, seg, faulted);
  u8* const high =
      v.mmu.pointer_for_write(address + first, static_cast<unsigned>(sizeof(T)) - first, seg, faulted);
  return low != nullptr && high == low + first ? low : nullptr;
}

/// The way of a read-modify-write that is not within one page of RAM. `lock`: excludes other such accesses of
/// this VM. A locked access that crosses into a page that is not its neighbour in machine memory is atomic
/// only towards these (docs/fidelity.md).
template <class T, class F>
[[gnu::noinline]] bool modify_slow(Vcpu& v, u64 address, x86::Seg seg, bool lock, F f) {
  if (!v.mmu.probe(address, sizeof(T), Access::kWrite, seg)) return false;
  std::unique_lock<std::mutex> guard;
  if (lock) {
    if (u8* const p = pointer_across_pages<T>(v, address, seg); p != nullptr) {
      T expected = guest_load<T>(p);
      while (!guest_compare_exchange<T>(p, expected, f(expected))) {
      }
      const auto first = static_cast<unsigned>(kPageSize - (address & kPageMask));
      v.mmu.wrote(address, first);
      v.mmu.wrote(address + first, static_cast<unsigned>(sizeof(T)) - first);
      return true;
    }
    guard = std::unique_lock(v.space.ram.split_lock());
  }
  T value;
  return v.mmu.read<T>(address, value, seg) && v.mmu.write<T>(address, f(value), seg);
}

/// Memory at `address` := f(memory), f called once. Faults (returns false) before f is called.
template <class T, class F>
[[gnu::always_inline]] inline bool modify_at(Vcpu& v, u64 address, x86::Seg seg, F f) {
  bool faulted;
  if (u8* p = v.mmu.pointer_for_write(address, sizeof(T), seg, faulted); p != nullptr) [[likely]] {
    guest_store<T>(p, f(guest_load<T>(p)));
    v.mmu.wrote(address, sizeof(T));
    return true;
  }
  return !faulted && modify_slow<T>(v, address, seg, false, f);
}

/// The memory operand := f(memory operand).
template <class T, class F>
[[gnu::always_inline]] inline Flow modify(Vcpu& v, const Insn& i, F f) {
  u64 address;
  if (!linear_of(v, i, sizeof(T), Access::kWrite, address)) return Flow::kFault;
  return modify_at<T>(v, address, seg_of(i), f) ? after_store(v) : Flow::kFault;
}

/// As modify_at(), atomically towards other processors. f may be called several times; the last call counts.
template <class T, class F>
[[gnu::always_inline]] inline bool modify_locked_at(Vcpu& v, u64 address, x86::Seg seg, F f) {
  bool faulted;
  if (u8* p = v.mmu.pointer_for_write(address, sizeof(T), seg, faulted); p != nullptr) [[likely]] {
    T expected = guest_load<T>(p);
    while (!guest_compare_exchange<T>(p, expected, f(expected))) {
    }
    v.mmu.wrote(address, sizeof(T));
    return true;
  }
  return !faulted && modify_slow<T>(v, address, seg, true, f);
}

template <class T, class F>
[[gnu::always_inline]] inline Flow modify_locked(Vcpu& v, const Insn& i, F f) {
  u64 address;
  if (!linear_of(v, i, sizeof(T), Access::kWrite, address)) return Flow::kFault;
  if (!modify_locked_at<T>(v, address, seg_of(i), f)) return Flow::kFault;
  return after_store(v);
}

/// f called with a value of the operand size's type: u8, u16, u32 or u64.
template <class F>
auto for_size(unsigned bytes, F f) {
  switch (bytes) {
    case 1:
      return f(u8{});
    case 2:
      return f(u16{});
    case 4:
      return f(u32{});
    default:
      return f(u64{});
  }
}
/// As for_size(), without u8.
template <class F>
auto for_word_size(unsigned bytes, F f) {
  switch (bytes) {
    case 2:
      return f(u16{});
    case 4:
      return f(u32{});
    default:
      return f(u64{});
  }
}

}  // namespace vellum::interp
