// Segment descriptors and selectors (SDM vol. 3A §3.4-3.5, §5.8, §7.2).
#pragma once

#include "base/bits.hpp"

namespace vellum::x86 {

/// The hidden part of a segment register, and of LDTR and TR.
struct Segment {
  u16 selector = 0;
  /// Descriptor bits 55..40 in place: type 3..0, S 4, DPL 6..5, P 7, AVL 12, L 13, D/B 14, G 15 (as VMX's
  /// access rights; bits 11..8 are 0).
  u16 attributes = 0;
  u32 limit = 0;  ///< in bytes, granularity applied: the last valid offset
  u64 base = 0;

  unsigned type() const { return attributes & 0xf; }
  bool is_code_or_data() const { return (attributes & bit(4)) != 0; }
  unsigned dpl() const { return (attributes >> 5) & 3; }
  bool present() const { return (attributes & bit(7)) != 0; }
  bool long_mode() const { return (attributes & bit(13)) != 0; }
  bool big() const { return (attributes & bit(14)) != 0; }  ///< D or B
  bool is_code() const { return (attributes & 0x18) == 0x18; }
  bool is_data() const { return (attributes & 0x18) == 0x10; }
  bool conforming() const { return (attributes & 0x1c) == 0x1c; }
  bool readable() const { return is_data() || (attributes & 0x1a) == 0x1a; }
  bool writable() const { return (attributes & 0x1a) == 0x12; }
  bool expand_down() const { return (attributes & 0x1c) == 0x14; }
  /// A data or stack reference through this register may be made at all: not a null selector's leftovers.
  bool usable() const { return present() && is_code_or_data(); }

  bool operator==(const Segment&) const = default;
  template <class V>
  void visit(V& v) {
    v(selector), v(attributes), v(limit), v(base);
  }
};

struct DescriptorTable {
  u64 base = 0;
  u16 limit = 0;
  bool operator==(const DescriptorTable&) const = default;
  template <class V>
  void visit(V& v) {
    v(base), v(limit);
  }
};

/// System descriptor types (SDM vol. 3A table 3-2).
// clang-format off
enum SystemType : u8 {
  kTss16Available = 1, kLdt = 2, kTss16Busy = 3, kCallGate16 = 4, kTaskGate = 5, kInterruptGate16 = 6, kTrapGate16 = 7,
  kTss32Available = 9, kTss32Busy = 11, kCallGate32 = 12, kInterruptGate32 = 14, kTrapGate32 = 15,
};
// clang-format on

/// The register form of an 8-byte descriptor; base bits 63..32 come from the second half of a 16-byte one.
constexpr Segment parse_descriptor(u16 selector, u64 low, u64 high = 0) {
  Segment s;
  s.selector = selector;
  s.attributes = static_cast<u16>(bits(low, 55, 40) & 0xf0ff);
  s.base = bits(low, 39, 16) | (bits(low, 63, 56) << 24) | (high << 32);
  const u32 limit = static_cast<u32>(bits(low, 15, 0) | (bits(low, 51, 48) << 16));
  s.limit = (low & bit(55)) != 0 ? (limit << 12) | 0xfff : limit;
  return s;
}

/// The 8-byte descriptor that parse_descriptor() turns into `s` (its base's low 32 bits).
constexpr u64 make_descriptor(const Segment& s) {
  const bool granular = (s.attributes & bit(15)) != 0;
  const u64 limit = granular ? s.limit >> 12 : s.limit;
  return bits(limit, 15, 0) | (bits(s.base, 23, 0) << 16) | (u64{s.attributes} << 40) |
         (bits(limit, 19, 16) << 48) | (bits(s.base, 31, 24) << 56);
}

}  // namespace vellum::x86
