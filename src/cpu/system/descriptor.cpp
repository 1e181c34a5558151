#include "cpu/system/descriptor.hpp"

#include "cpu/system/segments.hpp"

namespace vellum {

bool read_descriptor(Vcpu& v, u16 selector, u8 vector, u64& low) {
  if (protection::is_null(selector)) return v.raise_gp(0);
  u64 linear = 0;
  if (!protection::locate_descriptor(v, selector, 8, linear))
    return v.raise(vector, protection::error_of(selector));
  return v.mmu.read_as(Privilege::kImplicit, linear, 8, low);
}

namespace protection {

bool locate_descriptor(const Vcpu& v, u16 selector, unsigned size, u64& linear) {
  const u32 index = selector & 0xfff8u;
  u64 base = v.state.gdtr.base;
  u32 limit = v.state.gdtr.limit;
  if (in_ldt(selector)) {
    if (!v.state.ldtr.present()) return false;
    base = v.state.ldtr.base;
    limit = v.state.ldtr.limit;
  }
  linear = wrap_linear(v, base + index);
  return u64{index} + size - 1 <= limit;
}

bool fetch_segment(Vcpu& v, u16 selector, u8 vector, x86::Segment& segment) {
  u64 low = 0;
  if (!read_descriptor(v, selector, vector, low)) return false;
  segment = x86::parse_descriptor(selector, low);
  return true;
}

bool complete_system_descriptor(Vcpu& v, u16 selector, u8 vector, SystemDescriptor& descriptor) {
  descriptor.high = 0;
  if (!v.state.long_mode_active()) return true;
  u64 linear = 0;
  if (!locate_descriptor(v, selector, 16, linear)) return v.raise(vector, error_of(selector));
  u64 high = 0;
  if (!v.mmu.read_as(Privilege::kImplicit, linear + 8, 8, high)) return false;
  // Bits 12..8 of the last doubleword lie where an 8-byte descriptor has its type: they keep the upper half
  // from being taken for one (vol. 3A §3.5.2, §5.8.3.1).
  if (bits(high, 44, 40) != 0) return v.raise(vector, error_of(selector));
  descriptor.high = high & 0xffffffff;
  return true;
}

namespace {

/// The linear address of the descriptor's type byte, known to be writable.
bool locate_type_byte(Vcpu& v, u16 selector, u64& linear) {
  if (!locate_descriptor(v, selector, 8, linear)) return v.raise_gp(error_of(selector));
  linear = wrap_linear(v, linear + 5);
  return v.mmu.probe(linear, 1, Access::kWrite, x86::Seg::kDs, Privilege::kImplicit);
}

}  // namespace

bool probe_descriptor_type(Vcpu& v, u16 selector) {
  u64 linear = 0;
  return locate_type_byte(v, selector, linear);
}

bool change_descriptor_type(Vcpu& v, u16 selector, u8 set, u8 clear) {
  u64 linear = 0;
  if (!locate_type_byte(v, selector, linear)) return false;
  // Another processor may change the same descriptor: hardware uses a locked update, and so do we where there
  // is RAM.
  GuestPhys physical;
  u8* byte = v.mmu.translate_quietly(linear, physical) ? v.space.ram.store_host(physical) : nullptr;
  if (byte != nullptr && byte == v.space.ram.host(physical)) {
    u8 old = guest_load<u8>(byte);
    while (!guest_compare_exchange<u8>(byte, old, static_cast<u8>((old | set) & ~clear))) {
    }
    v.space.ram.note_store(physical, 1);
    return true;
  }
  u64 old = 0;
  return v.mmu.read_as(Privilege::kImplicit, linear, 1, old) &&
         v.mmu.write_as(Privilege::kImplicit, linear, 1, (old | set) & ~u64{clear});
}

bool mark_accessed(Vcpu& v, x86::Segment& segment) {
  if ((segment.attributes & 1) != 0) return true;
  if (!change_descriptor_type(v, segment.selector, 1, 0)) return false;
  segment.attributes |= 1;
  return true;
}

x86::Segment real_segment(const x86::Segment& old, u16 selector) {
  x86::Segment s = old;
  if (!s.usable()) s.limit = 0xffff;
  s.attributes = static_cast<u16>((s.attributes & 0xf000) | 0x93);  // present, read/write data, accessed
  s.selector = selector;
  s.base = u64{selector} << 4;
  return s;
}

}  // namespace protection
}  // namespace vellum
