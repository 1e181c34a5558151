// The three abstractions of memory as types that do not convert into each other.
//
//   GuestVirt   a linear address: what a guest's instructions use once segmentation is done
//   GuestPhys   what the guest's page tables yield; the address on the guest's memory bus
//   host        an ordinary pointer (u8*) into this process
//
// GuestFrame is a guest-physical address divided by the 4 KiB page size.
#pragma once

#include <compare>

#include "base/int.hpp"

namespace vellum {

inline constexpr u64 kPageShift = 12;
inline constexpr u64 kPageSize = u64{1} << kPageShift;
inline constexpr u64 kPageMask = kPageSize - 1;

template <class Tag>
struct Address {
  u64 value = 0;

  constexpr Address() = default;
  explicit constexpr Address(u64 v) : value(v) {}

  constexpr auto operator<=>(const Address&) const = default;
  constexpr Address operator+(u64 n) const { return Address(value + n); }
  constexpr Address operator-(u64 n) const { return Address(value - n); }
  constexpr u64 operator-(Address other) const { return value - other.value; }
  constexpr Address& operator+=(u64 n) {
    value += n;
    return *this;
  }
  /// Byte offset within the 4 KiB page.
  constexpr u64 page_offset() const { return value & kPageMask; }
  /// The address of the first byte of the 4 KiB page.
  constexpr Address page_base() const { return Address(value & ~kPageMask); }
  constexpr u64 page_number() const { return value >> kPageShift; }
};

using GuestVirt = Address<struct GuestVirtTag>;
using GuestPhys = Address<struct GuestPhysTag>;

struct GuestFrame {
  u64 value = 0;
  constexpr GuestFrame() = default;
  explicit constexpr GuestFrame(u64 v) : value(v) {}
  explicit constexpr GuestFrame(GuestPhys a) : value(a.value >> kPageShift) {}
  constexpr auto operator<=>(const GuestFrame&) const = default;
  constexpr GuestPhys base() const { return GuestPhys(value << kPageShift); }
};

/// A half-open range of guest-physical addresses, `size` bytes from `start`.
struct GuestPhysRange {
  GuestPhys start;
  u64 size = 0;
  constexpr bool contains(GuestPhys a) const { return a.value - start.value < size; }
  constexpr GuestPhys end() const { return start + size; }
  constexpr bool operator==(const GuestPhysRange&) const = default;
};

}  // namespace vellum
