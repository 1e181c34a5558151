// One attempt to deliver an exception or interrupt: through the interrupt vector table in real mode, through
// the IDT in protected and IA-32e mode (SDM vol. 2A, INT n; vol. 3A §6.10-6.14, §20.1.4, §20.3).
//
// All or nothing: up to the commit nothing but accessed bits changes, so that whatever faults on the way can
// be combined or delivered in the event's place.
#include "cpu/system/event_delivery.hpp"

#include "cpu/system/events.hpp"
#include "cpu/system/gate.hpp"
#include "cpu/system/privilege.hpp"
#include "cpu/system/stack.hpp"
#include "cpu/system/stack_frame.hpp"
#include "cpu/system/transfers.hpp"

namespace vellum {

using namespace protection;
using x86::EventKind;
using x86::Exception;
using x86::Seg;
using x86::Segment;
namespace flag = x86::rflags;

namespace {

/// INT n, INT3 and INTO are checked against the gate's DPL and their faults don't count as external.
bool is_software(EventKind kind) {
  return kind == EventKind::kSoftwareInterrupt || kind == EventKind::kSoftwareException;
}

/// RF in the pushed flags is set for faults, so that their return doesn't meet the same instruction
/// breakpoint again; not for the instruction breakpoint itself (vol. 3A §17.3.1.1).
bool sets_rf(const Exception& e) {
  if (e.kind != EventKind::kFault) return false;
  return e.vector != x86::kDb || (e.address & x86::dr6::kBd) != 0;
}

u64 flags_image(const Vcpu& v, const Exception& e) {
  return v.state.rflags | (sets_rf(e) ? flag::kRf : 0);
}

/// The frame below the stack pointer, alike for every gate: flags, CS, RIP and the error code.
bool push_common(Vcpu& v, StackFrame& frame, const Exception& e, unsigned size) {
  return frame.push(size, flags_image(v, e)) && frame.push(size, v.state.segment(Seg::kCs).selector) &&
         frame.push(size, v.state.rip) && (!e.has_error_code || frame.push(size, e.error_code));
}

bool push_outer_stack(Vcpu& v, StackFrame& frame, unsigned size) {
  if (v.state.virtual_8086())
    for (const Seg seg : {Seg::kGs, Seg::kFs, Seg::kDs, Seg::kEs})
      if (!frame.push(size, v.state.segment(seg).selector)) return false;
  return frame.push(size, v.state.segment(Seg::kSs).selector) && frame.push(size, v.state.gpr[x86::kRsp]);
}

void clear_flags_for_handler(Vcpu& v, bool interrupt_gate) {
  v.state.rflags &= ~(flag::kTf | flag::kNt | flag::kRf | flag::kVm);
  if (interrupt_gate) v.state.rflags &= ~flag::kIf;
}

/// Interrupt or trap gate to a more privileged level, or to a stack of the interrupt stack table.
bool deliver_to_new_stack(Vcpu& v, const Exception& e, const Gate& gate, Segment cs, unsigned size,
                          unsigned cpl) {
  InnerStack stack;
  if (!inner_stack(v, cpl, gate.ist, stack)) return false;
  if (size == 8) stack.sp &= ~u64{0xf};
  const u32 limit_error = size == 8 ? 0 : error_of(stack.ss.selector);
  StackFrame frame(v, stack.ss, stack.sp, stack.bytes, stack_privilege(cpl), limit_error);
  if (!push_outer_stack(v, frame, size) || !push_common(v, frame, e, size)) return false;
  if (!check_target(v, cs, gate.offset) || !mark_accessed(v, cs) || !frame.commit()) return false;

  const bool from_v86 = v.state.virtual_8086();
  const bool same_level = cpl == v.state.cpl;
  clear_flags_for_handler(v, (gate.type & 1) == 0);
  commit_code(v, cs, gate.offset, cpl);
  // An IST stack at an unchanged level leaves SS as it is.
  commit_stack(v, same_level ? v.state.segment(Seg::kSs) : stack.ss, frame.sp());
  if (from_v86)
    for (const Seg seg : {Seg::kEs, Seg::kDs, Seg::kFs, Seg::kGs}) v.state.segment(seg) = null_segment();
  return true;
}

/// Interrupt or trap gate within the level, on the current stack.
bool deliver_on_stack(Vcpu& v, const Exception& e, const Gate& gate, Segment cs, unsigned size) {
  const bool wide = size == 8;
  const u64 rsp = v.state.gpr[x86::kRsp];
  const unsigned bytes = wide ? 8 : stack_address_bytes(v);
  StackFrame frame(v, v.state.segment(Seg::kSs), wide ? rsp & ~u64{0xf} : rsp, bytes, Privilege::kCurrent, 0);
  if (wide && !push_outer_stack(v, frame, size)) return false;  // IA-32e mode always pushes SS:RSP
  if (!push_common(v, frame, e, size)) return false;
  if (!check_target(v, cs, gate.offset) || !mark_accessed(v, cs) || !frame.commit()) return false;
  clear_flags_for_handler(v, (gate.type & 1) == 0);
  commit_code(v, cs, gate.offset, v.state.cpl);
  set_stack_pointer(v, bytes, frame.sp());
  return true;
}

bool through_gate(Vcpu& v, const Exception& e, const Gate& gate) {
  if (is_null(gate.selector)) return v.raise_gp(0);
  Segment cs;
  if (!fetch_segment(v, gate.selector, x86::kGp, cs)) return false;
  const u32 error = error_of(gate.selector);
  const bool long_mode = v.state.long_mode_active();
  if (!cs.is_code() || cs.dpl() > v.state.cpl) return v.raise_gp(error);
  if (long_mode && (!cs.long_mode() || cs.big())) return v.raise_gp(error);
  if (!cs.present()) return v.raise(x86::kNp, error);
  const bool inward = !cs.conforming() && cs.dpl() < v.state.cpl;
  if (v.state.virtual_8086() && (!inward || cs.dpl() != 0)) return v.raise_gp(error);
  const unsigned size = long_mode ? 8 : (gate.type & 8) != 0 ? 4 : 2;
  const unsigned cpl = inward ? cs.dpl() : v.state.cpl;
  return inward || gate.ist != 0 ? deliver_to_new_stack(v, e, gate, cs, size, cpl)
                                 : deliver_on_stack(v, e, gate, cs, size);
}

/// The interrupted task's saved flags are the image that a gate would push.
bool through_task_gate(Vcpu& v, const Exception& e, const Gate& gate) {
  const u64 flags = v.state.rflags;
  v.state.rflags = flags_image(v, e);
  if (task_switch(v, gate.selector, TaskSwitch::kInterrupt, e.has_error_code, e.error_code)) return true;
  const bool switched = v.fault.kind == EventKind::kTrap;
  if (!switched) v.state.rflags = flags;
  return false;
}

/// Whether the IDT may hold a gate of this type in the current mode (vol. 3A §6.11, §6.14.1).
bool is_idt_gate(unsigned type, bool long_mode) {
  switch (type) {
    case x86::kInterruptGate32:
    case x86::kTrapGate32:
      return true;
    case x86::kTaskGate:
    case x86::kInterruptGate16:
    case x86::kTrapGate16:
      return !long_mode;
    default:
      return false;
  }
}

bool deliver_protected(Vcpu& v, const Exception& e) {
  const bool long_mode = v.state.long_mode_active();
  const unsigned entry = long_mode ? 16 : 8;
  const u32 error = e.vector * 8u + 2;  // names the IDT entry
  const u32 offset = e.vector * entry;
  if (offset + entry - 1 > v.state.idtr.limit) return v.raise_gp(error);
  u64 low = 0;
  u64 high = 0;
  const u64 linear = wrap_linear(v, v.state.idtr.base + offset);
  if (!v.mmu.read_as(Privilege::kImplicit, linear, 8, low)) return false;
  if (long_mode && !v.mmu.read_as(Privilege::kImplicit, linear + 8, 8, high)) return false;
  Gate gate = parse_gate(low, high & 0xffffffff);
  if (!long_mode) gate.ist = 0;
  if (!is_idt_gate(gate.type, long_mode)) return v.raise_gp(error);
  if (is_software(e.kind) && gate.dpl < v.state.cpl) return v.raise_gp(error);
  if (!gate.present) return v.raise(x86::kNp, error);
  return gate.type == x86::kTaskGate ? through_task_gate(v, e, gate) : through_gate(v, e, gate);
}

}  // namespace

namespace protection {

bool deliver_through_ivt(Vcpu& v, u8 vector, u64 table, u64 flags) {
  u64 entry = 0;
  if (!v.mmu.read_as(Privilege::kCurrent, wrap_linear(v, table + 4u * vector), 4, entry)) return false;
  StackFrame frame(v);
  if (!frame.push(2, flags) || !frame.push(2, v.state.segment(Seg::kCs).selector) ||
      !frame.push(2, v.state.rip) || !frame.commit())
    return false;
  const u16 selector = static_cast<u16>(entry >> 16);
  Segment& cs = v.state.segment(Seg::kCs);
  cs = v.state.virtual_8086() ? v86_segment(selector) : real_segment(cs, selector);
  v.state.rip = entry & 0xffff;
  set_stack_pointer(v, frame.bytes(), frame.sp());
  return true;
}

}  // namespace protection

bool try_deliver(Vcpu& v, const Exception& event) {
  bool delivered = false;
  if (v.state.real_mode()) {
    if (event.vector * 4u + 3 > v.state.idtr.limit) {
      delivered = v.raise_gp(0);
    } else if ((delivered = deliver_through_ivt(v, event.vector, v.state.idtr.base, v.state.rflags))) {
      v.state.rflags &= ~(flag::kIf | flag::kTf | flag::kAc | flag::kRf);
    }
  } else {
    delivered = deliver_protected(v, event);
  }
  if (!delivered) {
    // EXT: the fault was met while delivering an event external to the program (vol. 3A §6.13).
    const bool selector_code =
        v.fault.has_error_code && v.fault.vector != x86::kPf && v.fault.vector != x86::kAc;
    if (selector_code && !is_software(event.kind)) v.fault.error_code |= 1;
    return false;
  }
  if (event.vector == x86::kDb && event.kind != EventKind::kSoftwareInterrupt &&
      event.kind != EventKind::kInterrupt)
    v.state.dr7 &= ~x86::dr7::kGd;
  v.state.shadow_sti = false;
  v.state.shadow_mov_ss = false;
  v.mmu.update_context();
  return true;
}

}  // namespace vellum
