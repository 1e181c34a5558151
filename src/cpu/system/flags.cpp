// RFLAGS under privilege (SDM vol. 2, POPF, PUSHF, CLI, STI; vol. 3B §20.3 virtual-8086 mode extensions,
// §20.4 protected-mode virtual interrupts).
#include "cpu/system/control.hpp"

namespace vellum {
namespace {

using namespace x86;

unsigned iopl(const VcpuState& s) {
  return static_cast<unsigned>(bits(s.rflags, 13, 12));
}

/// Who owns the interrupt flag now.
enum class InterruptFlag : u8 {
  kReal,     ///< IF itself
  kVirtual,  ///< VIF stands for it
  kNeither,  ///< #GP(0)
};

InterruptFlag interrupt_flag(const VcpuState& s) {
  if (!s.protected_mode() || s.cpl <= iopl(s)) return InterruptFlag::kReal;
  if (s.virtual_8086()) return (s.cr4 & cr4::kVme) != 0 ? InterruptFlag::kVirtual : InterruptFlag::kNeither;
  return s.cpl == 3 && (s.cr4 & cr4::kPvi) != 0 ? InterruptFlag::kVirtual : InterruptFlag::kNeither;
}

void set_flags(Vcpu& v, u64 value) {
  const u64 changed = v.state.rflags ^ value;
  v.state.rflags = value;
  if ((changed & (rflags::kAc | rflags::kTf)) != 0) v.mmu.update_context();
}

}  // namespace

bool pop_flags(Vcpu& v, u64 value, unsigned operand_size) {
  VcpuState& s = v.state;
  u64 may_change = rflags::kArithmetic | rflags::kTf | rflags::kDf | rflags::kNt | rflags::kAc | rflags::kId;
  u64 flags = s.rflags;
  if (s.virtual_8086() && iopl(s) < 3) {
    if (operand_size != 2 || (s.cr4 & cr4::kVme) == 0) return v.raise_gp();
    const bool enables = (value & rflags::kIf) != 0;
    if ((enables && (flags & rflags::kVip) != 0) || (value & rflags::kTf) != 0) return v.raise_gp();
    flags = (flags & ~rflags::kVif) | (enables ? rflags::kVif : 0);
  } else {
    if (!s.protected_mode() || s.cpl <= iopl(s)) may_change |= rflags::kIf;
    if (!s.protected_mode() || s.cpl == 0) may_change |= rflags::kIopl;
  }
  if (operand_size == 2)
    may_change &= 0xffff;
  else
    flags &= ~rflags::kRf;
  set_flags(v, (flags & ~may_change) | (value & may_change));
  return true;
}

bool push_flags_value(Vcpu& v, unsigned operand_size, u64& value) {
  const VcpuState& s = v.state;
  if (s.virtual_8086() && iopl(s) < 3) {
    if (operand_size != 2 || (s.cr4 & cr4::kVme) == 0) return v.raise_gp();
    value = (s.rflags & 0xffff & ~rflags::kIf) | rflags::kIopl;
    if ((s.rflags & rflags::kVif) != 0) value |= rflags::kIf;
    return true;
  }
  value = s.rflags & ~(rflags::kVm | rflags::kRf);
  if (operand_size == 2) value &= 0xffff;
  return true;
}

bool cli(Vcpu& v) {
  VcpuState& s = v.state;
  switch (interrupt_flag(s)) {
    case InterruptFlag::kReal:
      s.rflags &= ~rflags::kIf;
      return true;
    case InterruptFlag::kVirtual:
      s.rflags &= ~rflags::kVif;
      return true;
    default:
      return v.raise_gp();
  }
}

bool sti(Vcpu& v) {
  VcpuState& s = v.state;
  switch (interrupt_flag(s)) {
    case InterruptFlag::kReal:
      if ((s.rflags & rflags::kIf) == 0) s.shadow_sti = true;
      s.rflags |= rflags::kIf;
      return true;
    case InterruptFlag::kVirtual:
      if ((s.rflags & rflags::kVip) != 0) return v.raise_gp();
      s.rflags |= rflags::kVif;
      return true;
    default:
      return v.raise_gp();
  }
}

}  // namespace vellum
