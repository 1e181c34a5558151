// Hardware task switches (SDM vol. 3A §7.3, table 7-1). Up to the commit point nothing has changed when a
// fault is reported; behind it the fault belongs to the new task, whose registers are loaded
// (raise_at_target()).
#include <algorithm>

#include "cpu/mmu/walk.hpp"
#include "cpu/system/privilege.hpp"
#include "cpu/system/segments.hpp"
#include "cpu/system/stack.hpp"
#include "cpu/system/task_state.hpp"
#include "cpu/system/transfers.hpp"

namespace vellum {

using namespace protection;
using x86::Seg;
using x86::Segment;
namespace flag = x86::rflags;

namespace {

constexpr u8 kBusyBit = 2;

bool nests(TaskSwitch cause) {
  return cause == TaskSwitch::kCall || cause == TaskSwitch::kInterrupt;
}

/// The TSS to switch to: in the GDT, of the right type and state, present, large enough.
bool fetch_new_tss(Vcpu& v, u16 selector, TaskSwitch cause, Segment& tss) {
  const bool back = cause == TaskSwitch::kReturn;
  const u8 vector = back ? x86::kTs : x86::kGp;
  if (is_null(selector) || in_ldt(selector)) return v.raise(vector, error_of(selector));
  if (!fetch_segment(v, selector, vector, tss)) return false;
  if (tss.is_code_or_data() || !is_tss_type(tss.type(), back)) return v.raise(vector, error_of(selector));
  if (!tss.present()) return v.raise(x86::kNp, error_of(selector));
  if (tss.limit < tss_minimum_limit(tss)) return v.raise(x86::kTs, error_of(selector));
  return true;
}

/// Step 5 of §7.3: everything that the switch touches before its commit point is mapped.
bool probe_switch(Vcpu& v, const Segment& old_tss, const Segment& new_tss, TaskSwitch cause) {
  if (old_tss.limit < tss_minimum_limit(old_tss)) return v.raise(x86::kTs, error_of(old_tss.selector));
  if (!probe_task_save(v, old_tss)) return false;
  const u64 base = wrap_linear(v, new_tss.base);
  const unsigned size = tss_minimum_limit(new_tss) + 1;
  if (!v.mmu.probe(base, size, Access::kRead, Seg::kDs, Privilege::kImplicit)) return false;
  if (nests(cause) && !v.mmu.probe(base, 2, Access::kWrite, Seg::kDs, Privilege::kImplicit)) return false;
  if (!nests(cause) && !probe_descriptor_type(v, old_tss.selector)) return false;
  return cause == TaskSwitch::kReturn || probe_descriptor_type(v, new_tss.selector);
}

bool load_task_ldt(Vcpu& v, u16 selector) {
  v.state.ldtr = null_segment(selector);
  if (is_null(selector)) return true;
  const u32 error = error_of(selector);
  Segment s;
  if (in_ldt(selector)) return v.raise(x86::kTs, error);
  if (!fetch_segment(v, selector, x86::kTs, s)) return false;
  if (s.is_code_or_data() || s.type() != x86::kLdt || !s.present()) return v.raise(x86::kTs, error);
  v.state.ldtr = s;
  return true;
}

bool load_task_code(Vcpu& v, u16 selector) {
  const u32 error = error_of(selector);
  if (is_null(selector)) return v.raise(x86::kTs, 0);
  Segment s;
  if (!fetch_segment(v, selector, x86::kTs, s)) return false;
  const unsigned rpl = rpl_of(selector);
  if (!s.is_code() || (s.conforming() ? s.dpl() > rpl : s.dpl() != rpl)) return v.raise(x86::kTs, error);
  if (!s.present()) return v.raise(x86::kNp, error);
  if (!mark_accessed(v, s)) return false;
  v.state.segment(Seg::kCs) = s;
  return true;
}

bool load_task_stack(Vcpu& v, u16 selector) {
  const u32 error = error_of(selector);
  if (is_null(selector)) return v.raise(x86::kTs, 0);
  Segment s;
  if (!fetch_segment(v, selector, x86::kTs, s)) return false;
  if (!s.writable() || s.dpl() != v.state.cpl || rpl_of(selector) != v.state.cpl)
    return v.raise(x86::kTs, error);
  if (!s.present()) return v.raise(x86::kSs, error);
  if (!mark_accessed(v, s)) return false;
  v.state.segment(Seg::kSs) = s;
  return true;
}

bool load_task_data(Vcpu& v, Seg seg, u16 selector) {
  if (is_null(selector)) return true;
  const u32 error = error_of(selector);
  Segment s;
  if (!fetch_segment(v, selector, x86::kTs, s)) return false;
  const unsigned needed = std::max<unsigned>(rpl_of(selector), v.state.cpl);
  if (!s.readable() || (!s.conforming() && s.dpl() < needed)) return v.raise(x86::kTs, error);
  if (!s.present()) return v.raise(x86::kNp, error);
  if (!mark_accessed(v, s)) return false;
  v.state.segment(seg) = s;
  return true;
}

/// Step 13: the descriptors of the new task's selectors, in its own context.
bool load_task_segments(Vcpu& v, const TaskState& task) {
  const auto selector = [&](Seg seg) { return task.selector[static_cast<unsigned>(seg)]; };
  if (!load_task_ldt(v, task.ldt)) return false;
  if (v.state.virtual_8086()) return true;
  if (!load_task_code(v, selector(Seg::kCs)) || !load_task_stack(v, selector(Seg::kSs))) return false;
  for (const Seg seg : {Seg::kDs, Seg::kEs, Seg::kFs, Seg::kGs})
    if (!load_task_data(v, seg, selector(seg))) return false;
  return true;
}

/// Step 12: registers and selectors, their hidden parts still empty (but in virtual-8086 mode, which has no
/// descriptors).
void load_task_registers(Vcpu& v, const TaskState& task, u64 eflags) {
  VcpuState& s = v.state;
  s.rip = task.eip;
  s.rflags = (eflags & flag::kAll) | flag::kFixed1;
  std::copy(task.gpr.begin(), task.gpr.end(), s.gpr.begin());
  const bool v86 = s.virtual_8086();
  s.cpl = v86 ? 3 : static_cast<u8>(rpl_of(task.selector[static_cast<unsigned>(Seg::kCs)]));
  for (unsigned i = 0; i < x86::kSegCount; ++i)
    s.seg[i] = v86 ? v86_segment(task.selector[i]) : null_segment(task.selector[i]);
  s.cr0 |= x86::cr0::kTs;
  s.dr7 &= ~u64{0x155};  // L0-L3 and LE: local to the task left (vol. 3A §17.2.4)
}

/// What remains once the switch is committed; its faults are the new task's.
bool finish_switch(Vcpu& v, const TaskState& task, bool has_error_code, u32 error_code) {
  if (!load_task_segments(v, task)) return false;
  v.mmu.update_context();
  if (has_error_code && !push(v, task.is_32_bit ? 4 : 2, error_code)) return false;
  return check_target(v, v.state.segment(Seg::kCs), v.state.rip);
}

}  // namespace

bool task_switch(Vcpu& v, u16 selector, TaskSwitch cause, bool has_error_code, u32 error_code) {
  const Segment old_tss = v.state.tr;
  Segment new_tss;
  if (!fetch_new_tss(v, selector, cause, new_tss) || !probe_switch(v, old_tss, new_tss, cause)) return false;

  // Whether PAE's PDPTEs are valid must be known before anything is written.
  const bool paging = (v.state.cr0 & x86::cr0::kPg) != 0;
  const bool loads_cr3 = paging && is_32_bit_tss(new_tss);
  std::array<u64, 4> pdpte = v.state.pdpte;
  TaskState task;
  if (!read_task(v, new_tss, task)) return false;
  const bool pae = (v.state.cr4 & x86::cr4::kPae) != 0;
  if (loads_cr3 && pae && !load_pdptes(v.space, v.mmu.paging_features(), task.cr3, pdpte))
    return v.raise_gp(0);

  u64 saved_flags = v.state.rflags;
  if (cause == TaskSwitch::kReturn) saved_flags &= ~flag::kNt;
  if (!save_task(v, old_tss, saved_flags)) return false;
  if (old_tss.base == new_tss.base && !read_task(v, new_tss, task)) return false;  // back to itself
  if (nests(cause) &&
      !v.mmu.write_as(Privilege::kImplicit, wrap_linear(v, new_tss.base), 2, old_tss.selector))
    return false;
  if (!nests(cause) && !change_descriptor_type(v, old_tss.selector, 0, kBusyBit)) return false;
  if (cause != TaskSwitch::kReturn && !change_descriptor_type(v, selector, kBusyBit, 0)) return false;

  // The commit point.
  new_tss.attributes |= kBusyBit;
  v.state.tr = new_tss;
  if (loads_cr3) {
    v.state.cr3 = task.cr3;
    v.state.pdpte = pdpte;
    v.mmu.flush_non_global();
  }
  load_task_registers(v, task, task.eflags | (nests(cause) ? flag::kNt : 0));
  v.mmu.update_context();
  if (!finish_switch(v, task, has_error_code, error_code)) {
    v.mmu.update_context();
    return attribute_to_target(v);
  }
  if (!check_virtual_interrupt(v)) return false;
  if (task.trap)
    return v.raise({.vector = x86::kDb, .kind = x86::EventKind::kTrap, .address = x86::dr6::kBt});
  return true;
}

}  // namespace vellum
