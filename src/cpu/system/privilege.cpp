#include "cpu/system/privilege.hpp"

#include "cpu/system/segments.hpp"
#include "cpu/system/stack.hpp"
#include "cpu/system/stack_frame.hpp"

namespace vellum::protection {

using x86::Seg;
using x86::Segment;
namespace flag = x86::rflags;

bool check_code_size(Vcpu& v, const Segment& cs) {
  if (v.state.long_mode_active() && cs.long_mode() && cs.big()) return v.raise_gp(error_of(cs.selector));
  return true;
}

bool check_target(Vcpu& v, const Segment& cs, u64 rip) {
  const bool valid = is_64_bit(v, cs) ? x86::is_canonical(rip) : rip <= cs.limit;
  return valid || v.raise_gp(0);
}

bool fetch_return_code(Vcpu& v, u16 selector, Segment& cs) {
  if (!fetch_segment(v, selector, x86::kGp, cs)) return false;
  const unsigned rpl = rpl_of(selector);
  if (!cs.is_code() || rpl < v.state.cpl || (cs.conforming() ? cs.dpl() > rpl : cs.dpl() != rpl))
    return v.raise_gp(error_of(selector));
  if (!check_code_size(v, cs)) return false;
  return cs.present() || v.raise(x86::kNp, error_of(selector));
}

bool fetch_return_stack(Vcpu& v, u16 selector, const Segment& cs, Segment& ss) {
  const unsigned rpl = rpl_of(cs.selector);
  if (is_null(selector)) {
    if (!is_64_bit(v, cs) || rpl == 3 || rpl_of(selector) == 3) return v.raise_gp(0);
    ss = null_segment(selector, rpl);
    return true;
  }
  if (!fetch_segment(v, selector, x86::kGp, ss)) return false;
  if (rpl_of(selector) != rpl || !ss.writable() || ss.dpl() != rpl) return v.raise_gp(error_of(selector));
  return ss.present() || v.raise(x86::kSs, error_of(selector));
}

namespace {

/// `size` bytes at `offset` of the current TSS. Beyond its limit: #TS(TSS selector).
bool read_tss(Vcpu& v, u32 offset, unsigned size, u64& value) {
  if (u64{offset} + size - 1 > v.state.tr.limit) return v.raise(x86::kTs, error_of(v.state.tr.selector));
  return v.mmu.read_as(Privilege::kImplicit, wrap_linear(v, v.state.tr.base + offset), size, value);
}

bool is_16_bit_tss(const Segment& tr) {
  return tr.type() == x86::kTss16Available || tr.type() == x86::kTss16Busy;
}

}  // namespace

bool inner_stack(Vcpu& v, unsigned cpl, unsigned ist, InnerStack& stack) {
  if (v.state.long_mode_active()) {  // vol. 3A §6.14.4-6.14.5: SS becomes null
    const u32 offset = ist != 0 ? 28 + 8 * ist : 4 + 8 * cpl;
    if (!read_tss(v, offset, 8, stack.sp)) return false;
    stack.ss = null_segment(static_cast<u16>(cpl), cpl);
    stack.bytes = 8;
    return true;
  }
  u64 selector_value = 0;
  if (is_16_bit_tss(v.state.tr)) {
    u64 pair = 0;
    if (!read_tss(v, 2 + 4 * cpl, 4, pair)) return false;
    stack.sp = pair & 0xffff;
    selector_value = pair >> 16;
  } else {
    u64 pair = 0;
    const u32 offset = 4 + 8 * cpl;
    if (!read_tss(v, offset, 4, stack.sp) || !read_tss(v, offset + 4, 2, pair)) return false;
    selector_value = pair;
  }
  const u16 selector = static_cast<u16>(selector_value);
  if (is_null(selector)) return v.raise(x86::kTs, 0);
  Segment& ss = stack.ss;
  if (!fetch_segment(v, selector, x86::kTs, ss)) return false;
  if (rpl_of(selector) != cpl || ss.dpl() != cpl || !ss.writable())
    return v.raise(x86::kTs, error_of(selector));
  if (!ss.present()) return v.raise(x86::kSs, error_of(selector));
  if (!mark_accessed(v, ss)) return false;
  stack.bytes = ss.big() ? 4 : 2;
  return true;
}

void commit_code(Vcpu& v, Segment cs, u64 rip, unsigned cpl) {
  cs.selector = static_cast<u16>((cs.selector & 0xfffc) | cpl);
  v.state.segment(Seg::kCs) = cs;
  v.state.cpl = static_cast<u8>(cpl);
  v.state.rip = rip;
}

void commit_stack(Vcpu& v, const Segment& ss, u64 sp) {
  v.state.segment(Seg::kSs) = ss;
  set_stack_pointer(v, stack_address_bytes(v), sp);
}

void drop_privileged_segments(Vcpu& v) {
  for (const Seg seg : {Seg::kEs, Seg::kFs, Seg::kGs, Seg::kDs}) {
    Segment& s = v.state.segment(seg);
    if (s.is_code_or_data() && !s.conforming() && s.dpl() < v.state.cpl) s = null_segment();
  }
}

bool attribute_to_target(Vcpu& v) {
  v.state.rflags |= flag::kRf;
  v.fault.kind = x86::EventKind::kTrap;
  return false;
}

bool check_virtual_interrupt(Vcpu& v) {
  constexpr u64 kPending = flag::kVif | flag::kVip;
  const VcpuState& s = v.state;
  if ((s.rflags & kPending) != kPending || s.cpl != 3 || (s.rflags & flag::kIopl) == flag::kIopl) return true;
  if ((s.cr4 & (s.virtual_8086() ? x86::cr4::kVme : x86::cr4::kPvi)) == 0) return true;
  (void)v.raise_gp(0);
  return attribute_to_target(v);
}

}  // namespace vellum::protection
