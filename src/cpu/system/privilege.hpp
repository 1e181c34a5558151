// What every change of code segment has in common: checking the target, finding the inner stack, and
// committing.
#pragma once

#include "cpu/system/descriptor.hpp"
#include "cpu/system/vcpu.hpp"

namespace vellum::protection {

/// Protected mode proper: neither real-address nor virtual-8086 mode.
inline bool protected_code(const Vcpu& v) {
  return v.state.protected_mode() && !v.state.virtual_8086();
}

/// Whether `cs`, once loaded, is 64-bit code.
inline bool is_64_bit(const Vcpu& v, const x86::Segment& cs) {
  return v.state.long_mode_active() && cs.long_mode();
}

/// IA-32e mode reserves L with D: such a code segment can't be loaded. False: #GP(selector).
[[nodiscard]] bool check_code_size(Vcpu& v, const x86::Segment& cs);

/// The instruction pointer within the limit of the new code segment, or canonical for 64-bit code. False:
/// #GP(0).
[[nodiscard]] bool check_target(Vcpu& v, const x86::Segment& cs, u64 rip);

/// The code segment that RETF or IRET goes back to: type, privilege, presence. #GP, #NP.
[[nodiscard]] bool fetch_return_code(Vcpu& v, u16 selector, x86::Segment& cs);
/// The stack segment that RETF or IRET goes back to with `cs`, null ones in 64-bit mode included. #GP, #SS.
[[nodiscard]] bool fetch_return_stack(Vcpu& v, u16 selector, const x86::Segment& cs, x86::Segment& ss);

/// A stack of an inner privilege level, from the current TSS.
struct InnerStack {
  x86::Segment ss;
  u64 sp = 0;
  unsigned bytes = 8;  ///< of the stack address: 2, 4, or 8 in IA-32e mode
};
/// Reads and checks the stack for privilege level `cpl`; `ist`: interrupt stack table slot, or 0. #TS, #SS.
[[nodiscard]] bool inner_stack(Vcpu& v, unsigned cpl, unsigned ist, InnerStack& stack);

/// The privilege with which the processor pushes onto a stack of level `cpl` on its way there.
inline Privilege stack_privilege(unsigned cpl) {
  return cpl == 3 ? Privilege::kUser : Privilege::kSupervisor;
}

/// Loads CS:RIP and the CPL, which becomes the selector's RPL.
void commit_code(Vcpu& v, x86::Segment cs, u64 rip, unsigned cpl);
/// Loads SS and the stack pointer; `ss` says how much of it.
void commit_stack(Vcpu& v, const x86::Segment& ss, u64 sp);
/// Leaving an inner level: data segment registers that the outer one may not use become null (vol. 2, RET,
/// IRET).
void drop_privileged_segments(Vcpu& v);

/// Makes the recorded fault one of the first instruction of where a transfer went, the transfer itself being
/// complete: RIP already is the address to push. Told to engines by EventKind::kTrap; RF is set as for any
/// fault. Returns false.
[[nodiscard]] bool attribute_to_target(Vcpu& v);

/// A virtual interrupt that is pending and no longer masked (VIP and VIF) faults before the next instruction
/// of a program under the virtual mode extensions (vol. 3A §20.3.2, §20.4): to be asked after loading such
/// flags. #GP(0) at the target.
[[nodiscard]] bool check_virtual_interrupt(Vcpu& v);

}  // namespace vellum::protection
