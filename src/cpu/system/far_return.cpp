// RETF (SDM vol. 2B, RET): to the same or to an outer privilege level.
#include "cpu/system/privilege.hpp"
#include "cpu/system/stack.hpp"
#include "cpu/system/stack_frame.hpp"
#include "cpu/system/transfers.hpp"

namespace vellum {

using namespace protection;
using x86::Seg;
using x86::Segment;

namespace {

bool real_return(Vcpu& v, unsigned size, u64 rip, u16 selector, u16 extra_pop) {
  const Segment& old = v.state.segment(Seg::kCs);
  const Segment cs = v.state.virtual_8086() ? v86_segment(selector) : real_segment(old, selector);
  if (rip > cs.limit) return v.raise_gp(0);
  v.state.segment(Seg::kCs) = cs;
  v.state.rip = rip;
  adjust_sp(v, i64{2} * size + extra_pop);
  v.mmu.update_context();
  return true;
}

bool return_outward(Vcpu& v, unsigned size, u64 rip, Segment& cs, u16 extra_pop) {
  // The outer stack pointer stands above the parameters that the call gate copied.
  const u64 above = u64{2} * size + extra_pop;
  u64 sp = 0;
  u64 ss_selector = 0;
  if (!peek(v, size, above, sp) || !peek(v, size, above + size, ss_selector)) return false;
  Segment ss;
  if (!fetch_return_stack(v, static_cast<u16>(ss_selector), cs, ss)) return false;
  if (!check_target(v, cs, rip) || !mark_accessed(v, cs)) return false;
  if (!is_null(ss.selector) && !mark_accessed(v, ss)) return false;
  commit_code(v, cs, rip, rpl_of(cs.selector));
  commit_stack(v, ss, sp);
  adjust_sp(v, extra_pop);
  drop_privileged_segments(v);
  v.mmu.update_context();
  return true;
}

}  // namespace

bool far_return(Vcpu& v, unsigned operand_size, u16 extra_pop) {
  u64 rip = 0;
  u64 cs_value = 0;
  if (!peek(v, operand_size, 0, rip) || !peek(v, operand_size, operand_size, cs_value)) return false;
  const u16 selector = static_cast<u16>(cs_value);
  if (!protected_code(v)) return real_return(v, operand_size, rip, selector, extra_pop);

  Segment cs;
  if (!fetch_return_code(v, selector, cs)) return false;
  if (rpl_of(selector) > v.state.cpl) return return_outward(v, operand_size, rip, cs, extra_pop);
  if (!check_target(v, cs, rip) || !mark_accessed(v, cs)) return false;
  adjust_sp(v, i64{2} * operand_size + extra_pop);  // by the old code's stack size
  commit_code(v, cs, rip, v.state.cpl);
  v.mmu.update_context();
  return true;
}

}  // namespace vellum
