#include "cpu/bt/privilege_routines.hpp"

#include "cpu/bt/flag_moves.hpp"
#include "cpu/bt/jump_lookup.hpp"

namespace vellum::bt {

using namespace x86::rflags;

namespace {

constexpr u32 kKernel = 0, kUser = 1;  // of Context::gates

a::Mem gate(u32 which, std::size_t offset) {
  return field(offsetof(Context, gates) + which * sizeof(Context::Gate) + offset, 8);
}
a::Mem way(u32 shift, std::size_t offset) {
  return field(offsetof(Context, tlb) + offsetof(FrontTlb, ways) + shift / 3 * sizeof(FrontTlb::Way) + offset,
               8);
}
a::Mem segment(const Distances& d, x86::Seg seg, std::size_t offset) {
  return d.at(
      static_cast<u16>(offsetof(VcpuState, seg) + static_cast<unsigned>(seg) * sizeof(x86::Segment) + offset),
      8);
}
a::Mem msr_field(const Distances& d, std::size_t offset, unsigned bytes) {
  return d.at(static_cast<u16>(offsetof(VcpuState, msr) + offset), bytes);
}
a::Mem flags(const Distances& d) {
  return d.at(offsetof(VcpuState, rflags), 8);
}

// What must be so for the instruction to be done here: nothing pends, the privilege is `cpl`, and the one
// that it leads to is known.
void require(a::Assembler& as, const Distances& d, unsigned cpl, u32 to, u32 shift,
             const asmjit::Label& otherwise) {
  as.mov(kT1, field(offsetof(Context, hazards), 8));
  as.cmp(a::dword_ptr(kT1), 0);
  as.jne(otherwise);
  as.cmp(d.at(offsetof(VcpuState, cpl), 1), cpl);
  as.jne(otherwise);
  as.test(msr_field(d, offsetof(MsrState, efer), 4), static_cast<i32>(x86::efer::kSce));
  as.jz(otherwise);
  as.test(d.at(offsetof(VcpuState, cr4), 4), static_cast<i32>(x86::cr4::kSmap));
  as.jz(otherwise);
  as.cmp(gate(to, offsetof(Context::Gate, code_serial)).cloneResized(4), 0);
  as.je(otherwise);
  emit_require_way(as, shift, otherwise);
}

// A flat segment: its selector is in the 16 low bits of `selector`, whose upper ones are 0. Takes R14.
void load_flat(a::Assembler& as, const Distances& d, x86::Seg seg, const a::Gp& selector, u16 attributes) {
  static_assert(offsetof(x86::Segment, selector) == 0 && offsetof(x86::Segment, attributes) == 2 &&
                offsetof(x86::Segment, limit) == 4 && offsetof(x86::Segment, base) == 8);
  as.mov(kT1, asmjit::imm(u64{0xffff'ffff} << 32 | u64{attributes} << 16));
  as.or_(kT1, selector);
  as.mov(segment(d, seg, 0), kT1);
  as.mov(segment(d, seg, offsetof(x86::Segment, base)), 0);
}

// R14: the guest's flags, to be RFLAGS and Context::flags. Takes R14 and R15.
void set_flags(a::Assembler& as, const Distances& d) {
  as.mov(flags(d), kT1);
  emit_packed_of_flags(as, kT1, kT2);
}

// At CPL 0 or 3 now: what accesses and jumps go by, and where returns go that are not expected.
void take_gate(a::Assembler& as, u32 which, u32 shift) {
  emit_take_way(as, shift);
  as.mov(kT1, gate(which, offsetof(Context::Gate, code_serial)));
  as.mov(field(offsetof(Context, code_serial), 8), kT1);
  for (std::size_t half = 0; half < 2; ++half) {
    as.mov(kT1, gate(which, offsetof(Context::Gate, tables) + 8 * half));
    as.mov(field(offsetof(Context, jump_table) + 8 * half, 8), kT1);
  }
  as.mov(a::rsp, field(offsetof(Context, return_bottom), 8));
  as.mov(kT1, field(offsetof(Context, return_beyond) + 8 * (which == kKernel ? 1u : 0u), 8));
  as.mov(a::ptr(a::rsp), kT1);
}

// Goes on at `target`, a register that no look-up takes or memory. Whoever makes something pend empties the
// jump tables afterwards, so either that comes after take_gate()'s stores, or it is seen here.
template <class Target>
void go_to(a::Assembler& as, const Distances& d, const Target& target, u64 half,
           const PrivilegeExits& exits) {
  const asmjit::Label leave = as.newLabel();
  as.lock().or_(a::dword_ptr(a::rsp), 0);
  as.mov(kT1, field(offsetof(Context, hazards), 8));
  as.cmp(a::dword_ptr(kT1), 0);
  as.mov(kT0, target);
  as.jne(leave);
  emit_unpack_flags(as);
  as.mov(kT0, target);
  emit_find_jump(as, half, leave);
  emit_go_to_found(as);
  as.bind(leave);
  as.mov(d.rip(), kT0);
  as.jmp(exits.leave_jump);
}

}  // namespace

void emit_require_way(a::Assembler& as, u32 shift, const asmjit::Label& otherwise) {
  as.cmp(way(shift, offsetof(FrontTlb::Way, context)), 0);
  as.je(otherwise);
}

void emit_take_way(a::Assembler& as, u32 shift) {
  as.mov(kT1, way(shift, offsetof(FrontTlb::Way, context)));
  as.mov(field(offsetof(Context, tlb) + offsetof(FrontTlb, context), 8), kT1);
  as.mov(kT1, way(shift, offsetof(FrontTlb::Way, flat_slots)));
  as.mov(field(offsetof(Context, flat_slots), 8), kT1);
  as.mov(field(offsetof(Context, privilege_changed), 1), 1);
}

// From CPL 3 to 0 under SMAP, with AC clear there.
void emit_system_call(a::Assembler& as, const Distances& d, const PrivilegeExits& exits) {
  require(as, d, 3, kKernel, rights::kSupervisorSmap, exits.call_out);
  as.mov(kT1, msr_field(d, offsetof(MsrState, sfmask), 8));
  as.not_(kT1);
  as.and_(kT1, flags(d));
  as.test(kT1.r32(), static_cast<u32>(kAc));
  as.jnz(exits.call_out);
  // R11 := RFLAGS without RF; RFLAGS loses what IA32_FMASK has.
  emit_flags_of_packed(as, kT2, a::rcx);
  as.mov(kT1, flags(d));
  as.and_(kT1, static_cast<i32>(~(kArithmetic | kRf)));
  as.or_(kT1, kT2);
  as.mov(d.gpr(x86::kR11), kT1);
  as.mov(a::rcx, msr_field(d, offsetof(MsrState, sfmask), 8));
  as.not_(a::rcx);
  as.and_(kT1, a::rcx);
  as.or_(kT1, static_cast<i32>(kFixed1));
  set_flags(as, d);
  as.mov(a::rcx, a::ptr(kT0, offsetof(Site, next_rip)));
  as.movzx(kT2.r32(), msr_field(d, offsetof(MsrState, star) + 4, 2));
  as.and_(kT2.r32(), 0xfffc);
  load_flat(as, d, x86::Seg::kCs, kT2, 0xa09b);
  as.add(kT2.r16(), 8);
  load_flat(as, d, x86::Seg::kSs, kT2, 0xc093);
  as.mov(d.at(offsetof(VcpuState, cpl), 1), 0);
  take_gate(as, kKernel, rights::kSupervisorSmap);
  go_to(as, d, msr_field(d, offsetof(MsrState, lstar), 8), 1, exits);
}

// From CPL 0 to 64-bit code at CPL 3 in the lower half, with TF, IOPL, NT, AC, VIF and VIP clear there.
void emit_system_return(a::Assembler& as, const Distances& d, const PrivilegeExits& exits) {
  require(as, d, 0, kUser, rights::kUser, exits.call_out);
  as.mov(kT1, d.gpr(x86::kR11));
  as.test(kT1.r32(), static_cast<u32>(kTf | kIopl | kNt | kAc | kVif | kVip));
  as.jnz(exits.call_out);
  as.mov(kT2, a::rcx);
  as.shr(kT2, 47);
  as.jnz(exits.call_out);
  as.and_(kT1, static_cast<i32>(kArithmetic | kIf | kDf | kId));
  as.or_(kT1, static_cast<i32>(kFixed1));
  set_flags(as, d);
  as.movzx(a::eax, msr_field(d, offsetof(MsrState, star) + 6, 2));
  as.lea(kT2.r32(), a::ptr(a::rax, 16));
  as.or_(kT2.r32(), 3);
  as.movzx(kT2.r32(), kT2.r16());
  load_flat(as, d, x86::Seg::kCs, kT2, 0xa09b | 3 << 5);
  as.lea(kT2.r32(), a::ptr(a::rax, 8));
  as.or_(kT2.r32(), 3);
  as.movzx(kT2.r32(), kT2.r16());
  load_flat(as, d, x86::Seg::kSs, kT2, 0xc093 | 3 << 5);
  as.mov(d.at(offsetof(VcpuState, cpl), 1), 3);
  take_gate(as, kUser, rights::kUser);
  go_to(as, d, a::rcx, 0, exits);
}

}  // namespace vellum::bt
