// IRET in all its forms (SDM vol. 2A, IRET/IRETD/IRETQ): real and virtual-8086 mode, same and outer
// privilege, back to virtual-8086 mode, back to a task, and 64-bit mode, which always pops SS:RSP.
#include "cpu/system/privilege.hpp"
#include "cpu/system/stack.hpp"
#include "cpu/system/stack_frame.hpp"
#include "cpu/system/transfers.hpp"

namespace vellum {

using namespace protection;
using x86::Seg;
using x86::Segment;
namespace flag = x86::rflags;

namespace {

/// What IRET popped first: its three common items.
struct ReturnFrame {
  u64 rip = 0;
  u64 cs = 0;
  u64 flags = 0;
};

/// Replaces the flags in `mask` by those of `image`. A 16-bit image leaves the upper ones; RF is then clear,
/// as after any instruction.
void load_flags(Vcpu& v, u64 image, u64 mask, unsigned size) {
  if (size == 2) {
    mask &= 0xffff;
    v.state.rflags &= ~flag::kRf;
  }
  v.state.rflags = (v.state.rflags & ~mask) | (image & mask) | flag::kFixed1;
}

unsigned iopl(const Vcpu& v) {
  return static_cast<unsigned>((v.state.rflags & flag::kIopl) >> 12);
}

constexpr u64 kAlways =
    flag::kArithmetic | flag::kTf | flag::kDf | flag::kNt | flag::kRf | flag::kAc | flag::kId;

bool real_return(Vcpu& v, const ReturnFrame& f, unsigned size) {
  const Segment cs = real_segment(v.state.segment(Seg::kCs), static_cast<u16>(f.cs));
  if (f.rip > cs.limit) return v.raise_gp(0);
  v.state.segment(Seg::kCs) = cs;
  v.state.rip = f.rip;
  load_flags(v, f.flags, kAlways | flag::kIf | flag::kIopl, size);
  adjust_sp(v, i64{3} * size);
  v.mmu.update_context();
  return true;
}

/// IRET executed in virtual-8086 mode (vol. 3A §20.2.7; with CR4.VME the virtual interrupt flag stands in for
/// IF, §20.3.2).
bool return_within_v86(Vcpu& v, const ReturnFrame& f, unsigned size) {
  u64 image = f.flags;
  u64 mask = kAlways | flag::kIf;
  if (iopl(v) < 3) {
    const bool virtual_if = (v.state.cr4 & x86::cr4::kVme) != 0 && size == 2;
    if (!virtual_if) return v.raise_gp(0);
    const bool would_interrupt = (image & flag::kIf) != 0 && (v.state.rflags & flag::kVip) != 0;
    if (would_interrupt || (image & flag::kTf) != 0) return v.raise_gp(0);
  }
  const Segment cs = v86_segment(static_cast<u16>(f.cs));
  if (f.rip > cs.limit) return v.raise_gp(0);
  v.state.segment(Seg::kCs) = cs;
  v.state.rip = f.rip;
  if (iopl(v) < 3) {
    mask &= ~flag::kIf;
    const u64 vif = (image & flag::kIf) != 0 ? flag::kVif : 0;
    v.state.rflags = (v.state.rflags & ~flag::kVif) | vif;
  }
  load_flags(v, image, mask, size);
  adjust_sp(v, i64{3} * size);
  v.mmu.update_context();
  return true;
}

/// From protected mode at CPL 0 to virtual-8086 mode: nine doublewords in all.
bool return_to_v86(Vcpu& v, const ReturnFrame& f) {
  std::array<u64, 6> items{};  // ESP, SS, ES, DS, FS, GS
  for (unsigned i = 0; i < items.size(); ++i)
    if (!peek(v, 4, 12 + 4 * u64{i}, items[i])) return false;
  if (f.rip > 0xffff) return v.raise_gp(0);
  const auto load = [&](Seg seg, u64 selector) {
    v.state.segment(seg) = v86_segment(static_cast<u16>(selector));
  };
  load(Seg::kCs, f.cs);
  load(Seg::kSs, items[1]);
  load(Seg::kEs, items[2]);
  load(Seg::kDs, items[3]);
  load(Seg::kFs, items[4]);
  load(Seg::kGs, items[5]);
  v.state.gpr[x86::kRsp] = items[0];
  v.state.rip = f.rip;
  v.state.cpl = 3;
  v.state.rflags = (f.flags & flag::kAll) | flag::kFixed1;
  v.mmu.update_context();
  return check_virtual_interrupt(v);
}

/// NT is set: back to the task whose TSS the current one links to (vol. 3A §7.4).
bool return_to_task(Vcpu& v) {
  u64 link = 0;
  if (!v.mmu.read_as(Privilege::kImplicit, v.state.tr.base, 2, link)) return false;
  return task_switch(v, static_cast<u16>(link), TaskSwitch::kReturn, false, 0);
}

bool protected_return(Vcpu& v, const ReturnFrame& f, unsigned size) {
  Segment cs;
  if (!fetch_return_code(v, static_cast<u16>(f.cs), cs)) return false;
  const bool outward = rpl_of(cs.selector) > v.state.cpl;
  const bool pops_stack = outward || v.state.mode_64();
  Segment ss = v.state.segment(Seg::kSs);
  u64 sp = 0;
  if (pops_stack) {
    u64 selector = 0;
    if (!peek(v, size, u64{3} * size, sp) || !peek(v, size, u64{4} * size, selector)) return false;
    if (!fetch_return_stack(v, static_cast<u16>(selector), cs, ss)) return false;
  }
  if (!check_target(v, cs, f.rip) || !mark_accessed(v, cs)) return false;
  if (pops_stack && !is_null(ss.selector) && !mark_accessed(v, ss)) return false;

  u64 mask = kAlways;
  if (v.state.cpl <= iopl(v)) mask |= flag::kIf;
  if (v.state.cpl == 0) mask |= flag::kIopl | flag::kVif | flag::kVip;
  load_flags(v, f.flags, mask, size);
  if (!pops_stack) adjust_sp(v, i64{3} * size);
  commit_code(v, cs, f.rip, rpl_of(cs.selector));
  if (pops_stack) commit_stack(v, ss, sp);
  if (outward) drop_privileged_segments(v);
  v.mmu.update_context();
  return check_virtual_interrupt(v);
}

}  // namespace

bool interrupt_return(Vcpu& v, unsigned operand_size) {
  v.state.nmi_blocked = false;  // even if IRET faults (vol. 3A §6.7.1)
  // Virtual-8086 mode's privilege check comes before any access to the stack.
  const bool v86 = v.state.protected_mode() && v.state.virtual_8086();
  if (v86 && iopl(v) < 3 && !((v.state.cr4 & x86::cr4::kVme) != 0 && operand_size == 2)) return v.raise_gp(0);
  if (protected_code(v) && (v.state.rflags & flag::kNt) != 0) {
    if (v.state.long_mode_active()) return v.raise_gp(0);
    return return_to_task(v);
  }
  ReturnFrame f;
  if (!peek(v, operand_size, 0, f.rip) || !peek(v, operand_size, operand_size, f.cs) ||
      !peek(v, operand_size, u64{2} * operand_size, f.flags))
    return false;
  if (v86) return return_within_v86(v, f, operand_size);
  if (!v.state.protected_mode()) return real_return(v, f, operand_size);
  const bool to_v86 = operand_size == 4 && (f.flags & flag::kVm) != 0 && v.state.cpl == 0;
  if (to_v86 && !v.state.long_mode_active()) return return_to_v86(v, f);
  return protected_return(v, f, operand_size);
}

}  // namespace vellum
