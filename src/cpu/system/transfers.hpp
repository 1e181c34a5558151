// Transfers of control that change more than RIP: far jumps, calls and returns, IRET, system calls (SDM vol.
// 3A §5.8, §6.12-6.14, ch. 8 "Task Management"; vol. 2 for each instruction).
//
// On entry v.state.rip is the address of the *next* instruction; on success it is the target. On a fault the
// engine puts RIP back to the instruction, except when `fault.kind` is EventKind::kTrap: then the transfer
// itself is complete, the exception belongs to its target (a task whose segments don't load or whose TSS has
// the T flag, a program with a virtual interrupt pending), and RIP already is what the handler must see.
//
// IRET loads RF: an engine that clears RF after each instruction leaves it alone after this one.
#pragma once

#include "cpu/system/vcpu.hpp"

namespace vellum {

[[nodiscard]] bool far_jump(Vcpu& v, u16 selector, u64 offset, unsigned operand_size);
[[nodiscard]] bool far_call(Vcpu& v, u16 selector, u64 offset, unsigned operand_size);
[[nodiscard]] bool far_return(Vcpu& v, unsigned operand_size, u16 extra_pop);
[[nodiscard]] bool interrupt_return(Vcpu& v, unsigned operand_size);
[[nodiscard]] bool syscall(Vcpu& v);
[[nodiscard]] bool sysret(Vcpu& v, unsigned operand_size);  ///< 8: to 64-bit code; 4: to compatibility code
[[nodiscard]] bool sysenter(Vcpu& v);
[[nodiscard]] bool sysexit(Vcpu& v, unsigned operand_size);

/// INT n, INT3, INTO, INT1: through the IDT, IVT or a V86 redirection.
[[nodiscard]] bool software_interrupt(Vcpu& v, u8 vector, x86::EventKind kind);

enum class TaskSwitch : u8 { kJump, kCall, kInterrupt, kReturn };
/// A hardware task switch to the TSS that `selector` names (vol. 3A §8.3). `error_code`: pushed on the new
/// stack.
[[nodiscard]] bool task_switch(Vcpu& v, u16 selector, TaskSwitch cause, bool has_error_code, u32 error_code);

}  // namespace vellum
