#include "cpu/system/segments.hpp"

#include <algorithm>

#include "cpu/system/descriptor.hpp"

namespace vellum {

using namespace protection;
using x86::Seg;
using x86::Segment;

namespace {

u8 fault_vector(Seg seg) {
  return seg == Seg::kSs ? x86::kSs : x86::kGp;
}

bool load_stack_segment(Vcpu& v, u16 selector) {
  const unsigned cpl = v.state.cpl;
  if (is_null(selector)) {
    if (!v.state.mode_64() || cpl == 3 || rpl_of(selector) != cpl) return v.raise_gp(0);
    v.state.segment(Seg::kSs) = null_segment(selector, cpl);
    return true;
  }
  Segment s;
  if (!fetch_segment(v, selector, x86::kGp, s)) return false;
  if (rpl_of(selector) != cpl || !s.writable() || s.dpl() != cpl) return v.raise_gp(error_of(selector));
  if (!s.present()) return v.raise(x86::kSs, error_of(selector));
  if (!mark_accessed(v, s)) return false;
  v.state.segment(Seg::kSs) = s;
  return true;
}

bool load_data_segment(Vcpu& v, Seg seg, u16 selector) {
  if (is_null(selector)) {
    v.state.segment(seg) = null_segment(selector);
    return true;
  }
  Segment s;
  if (!fetch_segment(v, selector, x86::kGp, s)) return false;
  if (!s.readable()) return v.raise_gp(error_of(selector));
  if (!s.conforming() && s.dpl() < std::max<unsigned>(rpl_of(selector), v.state.cpl))
    return v.raise_gp(error_of(selector));
  if (!s.present()) return v.raise(x86::kNp, error_of(selector));
  if (!mark_accessed(v, s)) return false;
  v.state.segment(seg) = s;
  return true;
}

/// LLDT and LTR outside protected mode or in user code.
bool check_system_load(Vcpu& v) {
  if (v.state.real_mode() || v.state.virtual_8086()) return v.raise_ud();
  if (v.state.cpl != 0) return v.raise_gp(0);
  return true;
}

/// The type checks of a reference: which kinds of segment may be read, written, executed (SDM vol. 3A §5.5).
bool type_allows(const Segment& s, Access access) {
  switch (access) {
    case Access::kRead:
      return s.readable();
    case Access::kWrite:
      return s.writable();
    case Access::kExecute:
      return s.is_code();
  }
  return false;
}

}  // namespace

bool load_segment(Vcpu& v, Seg seg, u16 selector) {
  if (v.state.real_mode()) {
    v.state.segment(seg) = real_segment(v.state.segment(seg), selector);
    return true;
  }
  if (v.state.virtual_8086()) {
    v.state.segment(seg) = v86_segment(selector);
    return true;
  }
  return seg == Seg::kSs ? load_stack_segment(v, selector) : load_data_segment(v, seg, selector);
}

bool load_ldtr(Vcpu& v, u16 selector) {
  if (!check_system_load(v)) return false;
  if (is_null(selector)) {
    v.state.ldtr = null_segment(selector);
    return true;
  }
  if (in_ldt(selector)) return v.raise_gp(error_of(selector));
  SystemDescriptor d;
  if (!read_descriptor(v, selector, x86::kGp, d.low)) return false;
  const Segment half = x86::parse_descriptor(selector, d.low);
  if (half.is_code_or_data() || half.type() != x86::kLdt) return v.raise_gp(error_of(selector));
  if (!half.present()) return v.raise(x86::kNp, error_of(selector));
  if (!complete_system_descriptor(v, selector, x86::kGp, d)) return false;
  const Segment s = x86::parse_descriptor(selector, d.low, d.high);
  if (!x86::is_canonical(s.base)) return v.raise_gp(error_of(selector));
  v.state.ldtr = s;
  return true;
}

bool load_tr(Vcpu& v, u16 selector) {
  if (!check_system_load(v)) return false;
  if (is_null(selector)) return v.raise_gp(0);
  if (in_ldt(selector)) return v.raise_gp(error_of(selector));
  SystemDescriptor d;
  if (!read_descriptor(v, selector, x86::kGp, d.low)) return false;
  const Segment half = x86::parse_descriptor(selector, d.low);
  const bool available = half.type() == x86::kTss32Available ||
                         (half.type() == x86::kTss16Available && !v.state.long_mode_active());
  if (half.is_code_or_data() || !available) return v.raise_gp(error_of(selector));
  if (!half.present()) return v.raise(x86::kNp, error_of(selector));
  if (!complete_system_descriptor(v, selector, x86::kGp, d)) return false;
  Segment s = x86::parse_descriptor(selector, d.low, d.high);
  if (!x86::is_canonical(s.base)) return v.raise_gp(error_of(selector));
  if (!change_descriptor_type(v, selector, 2, 0)) return false;
  s.attributes |= 2;  // busy
  v.state.tr = s;
  return true;
}

bool legacy_address(Vcpu& v, Seg seg, u64 offset, unsigned size, Access access, u64& linear) {
  const Segment& s = v.state.segment(seg);
  // Real mode and virtual-8086 mode know no types: CS may be written there.
  const bool typed = v.state.protected_mode() && !v.state.virtual_8086();
  if (typed && (!s.usable() || !type_allows(s, access))) [[unlikely]]
    return v.raise(fault_vector(seg), 0);
  if (!within_limit(s, offset, size)) [[unlikely]]
    return v.raise(fault_vector(seg), 0);
  linear = static_cast<u32>(s.base + offset);
  return true;
}

bool is_unlimited(const Segment& data) {
  return data.limit == 0xffffffff && data.present() && data.writable() && !data.expand_down();
}

bool is_flat_32(const VcpuState& s) {
  const Segment& cs = s.segment(Seg::kCs);
  const Segment& ss = s.segment(Seg::kSs);
  const auto flat = [&](Seg seg) { return s.segment(seg).base == 0 && is_unlimited(s.segment(seg)); };
  return s.protected_mode() && !s.virtual_8086() && !s.mode_64() && cs.big() && cs.base == 0 &&
         cs.limit == 0xffffffff && cs.readable() && ss.big() && flat(Seg::kSs) && flat(Seg::kDs) &&
         flat(Seg::kEs);
}

bool linear_address(Vcpu& v, Seg seg, u64 offset, unsigned size, Access access, u64& linear) {
  if (!v.state.mode_64()) return legacy_address(v, seg, offset, size, access, linear);
  const bool has_base = seg == Seg::kFs || seg == Seg::kGs;
  const u64 address = has_base ? v.state.segment(seg).base + offset : offset;
  if (!x86::is_canonical(address) || !x86::is_canonical(address + size - 1)) [[unlikely]]
    return v.raise(fault_vector(seg), 0);
  linear = address;
  return true;
}

bool query_selector(Vcpu& v, SelectorQuery query, u16 selector, bool& accessible, u32& result) {
  accessible = false;
  if (v.state.real_mode() || v.state.virtual_8086()) return v.raise_ud();
  u64 linear = 0;
  if (is_null(selector) || !locate_descriptor(v, selector, 8, linear)) return true;
  u64 low = 0;
  if (!v.mmu.read_as(Privilege::kImplicit, linear, 8, low)) return false;
  const Segment s = x86::parse_descriptor(selector, low);

  const bool privileged = s.dpl() >= std::max<unsigned>(v.state.cpl, rpl_of(selector));
  const bool long_mode = v.state.long_mode_active();
  if (query == SelectorQuery::kVerr || query == SelectorQuery::kVerw) {
    accessible = query == SelectorQuery::kVerr ? s.readable() && (s.conforming() || privileged)
                                               : s.writable() && privileged;
    return true;
  }
  if (!s.is_code_or_data()) {
    switch (s.type()) {  // vol. 2A LAR and LSL, table "Segment and Gate Types"
      case x86::kTss16Available:
      case x86::kTss16Busy:
        if (long_mode) return true;
        break;
      case x86::kLdt:
      case x86::kTss32Available:
      case x86::kTss32Busy:
        break;
      case x86::kCallGate16:
      case x86::kTaskGate:
        if (query == SelectorQuery::kLsl || long_mode) return true;
        break;
      case x86::kCallGate32:
        if (query == SelectorQuery::kLsl) return true;
        break;
      default:
        return true;
    }
  }
  if (!s.conforming() && !privileged) return true;
  accessible = true;
  result = query == SelectorQuery::kLar ? static_cast<u32>(low >> 32) & 0x00f0ff00 : s.limit;
  return true;
}

}  // namespace vellum
