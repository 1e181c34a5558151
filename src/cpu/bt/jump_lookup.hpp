// The inline look-up of a jump's target, in units and in the routines for returns.
#pragma once

#include "cpu/bt/layout.hpp"

namespace vellum::bt {

/// RAX: a guest-virtual address in `half` of the address space. R14 := its slot in the jump table, or to
/// `miss`. All else but R15 is as before, flags too. While something pends the table is empty.
inline void emit_find_jump(a::Assembler& as, u64 half, const asmjit::Label& miss) {
  const asmjit::Label known = as.newLabel();
  as.rorx(kT1, kT0, 7);
  as.lea(kT1, a::ptr(kT1, kT0));
  as.pext(kT1, kT1, field(offsetof(Context, jump_mask), 8));
  as.mov(kT2, a::rcx);
  as.mov(a::rcx, field(offsetof(Context, jump_table) + 8 * half, 8));
  as.lea(kT1, a::ptr(a::rcx, kT1, 3));
  as.mov(a::rcx, a::ptr(kT1));
  as.lea(a::rcx, a::ptr(a::rcx, kT0));
  as.jecxz(a::rcx, known);
  as.mov(a::rcx, kT2);
  as.jmp(miss);
  as.bind(known);
  as.mov(a::rcx, kT2);
}
inline void emit_go_to_found(a::Assembler& as) {
  as.jmp(a::ptr(kT1, static_cast<i32>(offsetof(JumpTable, entries)), 8));
}

}  // namespace vellum::bt
