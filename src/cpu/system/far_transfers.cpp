// JMP and CALL to a far pointer (SDM vol. 2A, JMP and CALL; vol. 3A §5.8): code segments, call gates, task
// gates, TSSs.
#include <algorithm>

#include "cpu/system/gate.hpp"
#include "cpu/system/privilege.hpp"
#include "cpu/system/segments.hpp"
#include "cpu/system/stack.hpp"
#include "cpu/system/stack_frame.hpp"
#include "cpu/system/transfers.hpp"

namespace vellum {

using namespace protection;
using x86::Seg;
using x86::Segment;

namespace {

enum class Transfer : u8 { kJump, kCall };

/// CS and the address of the next instruction, on the current stack.
bool push_return_address(Vcpu& v, StackFrame& frame, unsigned size) {
  return frame.push(size, v.state.segment(Seg::kCs).selector) && frame.push(size, v.state.rip);
}

/// Real-address and virtual-8086 mode.
bool real_transfer(Vcpu& v, Transfer kind, u16 selector, u64 rip, unsigned operand_size) {
  const Segment& old = v.state.segment(Seg::kCs);
  const Segment cs = v.state.virtual_8086() ? v86_segment(selector) : real_segment(old, selector);
  if (kind == Transfer::kJump) {
    if (rip > cs.limit) return v.raise_gp(0);
  } else {
    StackFrame frame(v);
    if (!push_return_address(v, frame, operand_size)) return false;
    if (rip > cs.limit) return v.raise_gp(0);
    if (!frame.commit()) return false;
    set_stack_pointer(v, frame.bytes(), frame.sp());
  }
  v.state.segment(Seg::kCs) = cs;
  v.state.rip = rip;
  v.mmu.update_context();
  return true;
}

/// To a code segment of the same privilege, directly or through a gate; `cs` is checked but for its limit.
bool enter_same_level(Vcpu& v, Transfer kind, Segment cs, u64 rip, unsigned push_size) {
  StackFrame frame(v);
  if (kind == Transfer::kCall && !push_return_address(v, frame, push_size)) return false;
  if (!check_target(v, cs, rip) || !mark_accessed(v, cs) || !frame.commit()) return false;
  if (kind == Transfer::kCall) set_stack_pointer(v, frame.bytes(), frame.sp());
  commit_code(v, cs, rip, v.state.cpl);
  v.mmu.update_context();
  return true;
}

bool to_code_segment(Vcpu& v, Transfer kind, const Segment& cs, u64 rip, unsigned operand_size) {
  const u32 error = error_of(cs.selector);
  const unsigned cpl = v.state.cpl;
  if (!check_code_size(v, cs)) return false;
  if (cs.conforming() ? cs.dpl() > cpl : rpl_of(cs.selector) > cpl || cs.dpl() != cpl)
    return v.raise_gp(error);
  if (!cs.present()) return v.raise(x86::kNp, error);
  return enter_same_level(v, kind, cs, rip, operand_size);
}

/// CALL through a gate to more privileged code: a new stack, and the parameters copied to it.
bool call_inner_level(Vcpu& v, const Gate& gate, Segment cs, unsigned size) {
  const unsigned cpl = cs.dpl();
  InnerStack stack;
  if (!inner_stack(v, cpl, 0, stack)) return false;
  const u32 limit_error = size == 8 ? 0 : error_of(stack.ss.selector);
  StackFrame frame(v, stack.ss, stack.sp, stack.bytes, stack_privilege(cpl), limit_error);
  if (!frame.push(size, v.state.segment(Seg::kSs).selector)) return false;
  if (!frame.push(size, wrap_stack(v.state.gpr[x86::kRsp], size))) return false;
  const unsigned parameters = size == 8 ? 0 : gate.parameters;
  for (unsigned i = parameters; i-- > 0;) {
    u64 value = 0;
    if (!peek(v, size, u64{i} * size, value) || !frame.push(size, value)) return false;
  }
  if (!push_return_address(v, frame, size) || !check_target(v, cs, gate.offset)) return false;
  if (!mark_accessed(v, cs) || !frame.commit()) return false;
  commit_code(v, cs, gate.offset, cpl);
  commit_stack(v, stack.ss, frame.sp());
  v.mmu.update_context();
  return true;
}

bool through_call_gate(Vcpu& v, Transfer kind, const Gate& gate) {
  if (is_null(gate.selector)) return v.raise_gp(0);
  Segment cs;
  if (!fetch_segment(v, gate.selector, x86::kGp, cs)) return false;
  const u32 error = error_of(gate.selector);
  const unsigned cpl = v.state.cpl;
  const bool inward = kind == Transfer::kCall && !cs.conforming() && cs.dpl() < cpl;
  if (!cs.is_code() || cs.dpl() > cpl) return v.raise_gp(error);
  if (kind == Transfer::kJump && !cs.conforming() && cs.dpl() != cpl) return v.raise_gp(error);
  const bool long_mode = v.state.long_mode_active();
  if (long_mode && (!cs.long_mode() || cs.big())) return v.raise_gp(error);
  if (!cs.present()) return v.raise(x86::kNp, error);
  const unsigned size = long_mode ? 8 : gate.type == x86::kCallGate32 ? 4 : 2;
  return inward ? call_inner_level(v, gate, cs, size) : enter_same_level(v, kind, cs, gate.offset, size);
}

TaskSwitch task_switch_of(Transfer kind) {
  return kind == Transfer::kJump ? TaskSwitch::kJump : TaskSwitch::kCall;
}

bool to_system_descriptor(Vcpu& v, Transfer kind, u16 selector, u64 low) {
  Gate gate = parse_gate(low, 0);
  const u32 error = error_of(selector);
  const bool long_mode = v.state.long_mode_active();
  const bool reachable = gate.dpl >= std::max<unsigned>(v.state.cpl, rpl_of(selector));
  switch (gate.type) {
    case x86::kCallGate16:
      if (long_mode) return v.raise_gp(error);
      [[fallthrough]];
    case x86::kCallGate32: {
      SystemDescriptor whole{.low = low};
      if (!complete_system_descriptor(v, selector, x86::kGp, whole)) return false;
      gate = parse_gate(low, whole.high);
      if (!reachable) return v.raise_gp(error);
      if (!gate.present) return v.raise(x86::kNp, error);
      return through_call_gate(v, kind, gate);
    }
    case x86::kTaskGate:
      if (long_mode || !reachable) return v.raise_gp(error);
      if (!gate.present) return v.raise(x86::kNp, error);
      return task_switch(v, gate.selector, task_switch_of(kind), false, 0);
    case x86::kTss16Available:
    case x86::kTss32Available:
      if (long_mode || !reachable) return v.raise_gp(error);
      return task_switch(v, selector, task_switch_of(kind), false, 0);
    default:
      return v.raise_gp(error);
  }
}

bool far_transfer(Vcpu& v, Transfer kind, u16 selector, u64 offset, unsigned operand_size) {
  const u64 rip = offset & low_mask(8 * operand_size);
  if (!protected_code(v)) return real_transfer(v, kind, selector, rip, operand_size);
  u64 low = 0;
  if (!read_descriptor(v, selector, x86::kGp, low)) return false;
  const Segment s = x86::parse_descriptor(selector, low);
  if (s.is_code()) return to_code_segment(v, kind, s, rip, operand_size);
  if (s.is_data()) return v.raise_gp(error_of(selector));
  return to_system_descriptor(v, kind, selector, low);
}

}  // namespace

bool far_jump(Vcpu& v, u16 selector, u64 offset, unsigned operand_size) {
  return far_transfer(v, Transfer::kJump, selector, offset, operand_size);
}

bool far_call(Vcpu& v, u16 selector, u64 offset, unsigned operand_size) {
  return far_transfer(v, Transfer::kCall, selector, offset, operand_size);
}

}  // namespace vellum
