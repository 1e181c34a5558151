// Reading descriptor tables and updating the bits that the processor itself keeps there (SDM vol. 3A §3.4.5,
// §3.5, §7.2): shared by segment loads, transfers, event delivery and task switches.
//
// All accesses are implicit supervisor-mode accesses (vol. 3A §4.6.1), whatever the CPL.
#pragma once

#include "cpu/system/vcpu.hpp"

namespace vellum::protection {

constexpr bool is_null(u16 selector) {
  return (selector & 0xfffc) == 0;
}
constexpr unsigned rpl_of(u16 selector) {
  return selector & 3;
}
/// The selector as an error code names it: index and TI; EXT and IDT clear (SDM vol. 3A §6.13).
constexpr u32 error_of(u16 selector) {
  return selector & 0xfffc;
}
/// In the LDT, where no TSS and no LDT may be described.
constexpr bool in_ldt(u16 selector) {
  return (selector & 4) != 0;
}

/// Linear addresses have 32 bits outside IA-32e mode.
inline u64 wrap_linear(const Vcpu& v, u64 linear) {
  return v.state.long_mode_active() ? linear : static_cast<u32>(linear);
}

/// Where the `size`-byte descriptor (8 or 16) that `selector` names stands. False if it is beyond its table's
/// limit, or in an LDT that isn't there. Raises nothing.
bool locate_descriptor(const Vcpu& v, u16 selector, unsigned size, u64& linear);

/// As read_descriptor() (segments.hpp) for a code or data segment, in register form.
[[nodiscard]] bool fetch_segment(Vcpu& v, u16 selector, u8 vector, x86::Segment& segment);

/// A system descriptor; in IA-32e mode its 16-byte form. Faults as read_descriptor(), also (with `vector`) if
/// the upper half does not fit the table or carries a type that isn't 0.
struct SystemDescriptor {
  u64 low = 0, high = 0;
};
[[nodiscard]] bool complete_system_descriptor(Vcpu& v, u16 selector, u8 vector, SystemDescriptor& descriptor);

/// Sets the accessed bit of a code or data segment in `segment` and, if it was clear, in its table. May
/// page-fault.
[[nodiscard]] bool mark_accessed(Vcpu& v, x86::Segment& segment);

/// Atomically sets and clears type bits (of byte 5) of the descriptor that `selector` names in the GDT or
/// LDT.
[[nodiscard]] bool change_descriptor_type(Vcpu& v, u16 selector, u8 set, u8 clear);
/// Whether change_descriptor_type() would succeed, with its fault if not.
[[nodiscard]] bool probe_descriptor_type(Vcpu& v, u16 selector);

/// A register that holds a null selector. `dpl`: kept for SS, whose DPL mirrors the CPL.
inline x86::Segment null_segment(u16 selector = 0, unsigned dpl = 0) {
  x86::Segment s;
  s.selector = selector;
  s.attributes = static_cast<u16>(dpl << 5);
  return s;
}

/// What loading `selector` in virtual-8086 mode makes of a segment register (vol. 3A §20.2).
inline x86::Segment v86_segment(u16 selector) {
  x86::Segment s;
  s.selector = selector;
  s.attributes = 0xf3;  // present, DPL 3, read/write data, accessed
  s.limit = 0xffff;
  s.base = u64{selector} << 4;
  return s;
}

/// What loading `selector` in real-address mode makes of `old`: base and selector change, while limit and
/// size stay, as software that reaches beyond 64 KiB in real mode relies on. A null register becomes an
/// ordinary one.
x86::Segment real_segment(const x86::Segment& old, u16 selector);

/// Whether `size` bytes at `offset` lie within the segment's limit (expand-down ones included).
inline bool within_limit(const x86::Segment& s, u64 offset, unsigned size) {
  const u64 last = offset + size - 1;
  if (!s.expand_down()) [[likely]]
    return last <= s.limit;
  return offset > s.limit && last <= (s.big() ? 0xffffffffu : 0xffffu);
}

}  // namespace vellum::protection
