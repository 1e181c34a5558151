#include "cpu/bt/routines.hpp"

#include <cstddef>

#include "base/assert.hpp"
#include "cpu/bt/flag_moves.hpp"
#include "cpu/bt/jump_lookup.hpp"
#include "cpu/bt/privilege_routines.hpp"
#include "cpu/bt/vector_state.hpp"

namespace vellum::bt {
namespace {

// Bodies that the routines call.
struct Bodies {
  asmjit::Label save_vectors, load_vectors;
};

// Callee-saved registers of the System V ABI. With the return address and one more word C++'s stack is
// aligned to 16 bytes.
constexpr std::array<a::Gp, 6> kCalleeSaved = {a::rbx, a::rbp, a::r12, a::r13, a::r14, a::r15};

void to_return_stack(a::Assembler& as) {
  as.mov(a::rsp, field(offsetof(Context, return_stack), 8));
}
// The address is still there: nobody else uses that stack.
void return_to_caller(a::Assembler& as) {
  to_return_stack(as);
  as.lea(a::rsp, a::ptr(a::rsp, -8));
  as.ret();
}

// From translated code to C++'s stack, as that of return addresses may be full, and to memory: general
// registers, and what the host holds of the vector and x87 state. `called`: by CALL, so that
// return_to_caller() may follow. Keeps RAX, R14, R15.
void spill(a::Assembler& as, const Distances& d, const Bodies& bodies, bool called) {
  if (called) as.add(a::rsp, 8);
  as.mov(field(offsetof(Context, return_stack), 8), a::rsp);
  as.mov(a::rsp, field(offsetof(Context, host_stack), 8));
  for (unsigned n = 0; n < 16; ++n)
    if (kHostOf[n] != kInMemory) as.mov(d.gpr(n), a::gpq(static_cast<u32>(kHostOf[n])));
  const asmjit::Label none = as.newLabel();
  as.mov(a::ecx, field(offsetof(Context, vectors), 4));
  as.mov(field(offsetof(Context, reload), 4), a::ecx);
  as.test(a::ecx, a::ecx);
  as.jz(none);
  as.call(bodies.save_vectors);
  as.bind(none);
}
void reload(a::Assembler& as, const Distances& d) {
  for (unsigned n = 0; n < 16; ++n)
    if (kHostOf[n] != kInMemory) as.mov(a::gpq(static_cast<u32>(kHostOf[n])), d.gpr(n));
}

// What spill() found in the host's vector registers comes back. Keeps R14, R15.
void reload_vectors(a::Assembler& as, const Bodies& bodies) {
  const asmjit::Label none = as.newLabel();
  as.mov(a::ecx, field(offsetof(Context, reload), 4));
  as.test(a::ecx, a::ecx);
  as.jz(none);
  as.call(bodies.load_vectors);
  as.bind(none);
}

void restore_and_return(a::Assembler& as) {
  as.add(a::rsp, 8);
  for (auto r = kCalleeSaved.rbegin(); r != kCalleeSaved.rend(); ++r) as.pop(*r);
  as.ret();
}

template <class F>
void call(a::Assembler& as, F function) {
  as.mov(a::rdi, field(offsetof(Context, owner), 8));
  as.mov(a::rax, asmjit::imm(reinterpret_cast<u64>(function)));
  as.call(a::rax);
}

// RAX: what a callback returned. `vectors`: what spill() found is loaded again.
void return_or_go(a::Assembler& as, const Distances& d, const asmjit::Label& leave, const asmjit::Label& go,
                  const Bodies* vectors = nullptr) {
  as.cmp(kT0, static_cast<u32>(kLeave));
  as.je(leave);
  as.ja(go);
  if (vectors != nullptr) reload_vectors(as, *vectors);
  reload(as, d);
  return_to_caller(as);
}

}  // namespace

Routines emit_routines(CodeCache& cache, Context& context, const Distances& d, const Callbacks& callbacks) {
  asmjit::CodeHolder holder;
  holder.init(asmjit::Environment::host());
  a::Assembler as(&holder);

  const Bodies bodies{as.newLabel(), as.newLabel()};
  as.bind(bodies.save_vectors);
  emit_save_vectors(as, d);
  as.bind(bodies.load_vectors);
  emit_load_vectors(as, d);

  const asmjit::Label enter = as.newLabel();
  as.bind(enter);
  for (const a::Gp& r : kCalleeSaved) as.push(r);
  as.sub(a::rsp, 8);
  as.mov(field(offsetof(Context, host_stack), 8), a::rsp);
  to_return_stack(as);
  as.mov(kT1, a::rdi);
  reload(as, d);
  emit_unpack_flags(as);
  as.jmp(kT1);

  const auto leave_for = [&](Leave why) {
    const asmjit::Label label = as.newLabel();
    as.bind(label);
    spill(as, d, bodies, false);
    as.mov(a::eax, static_cast<u32>(why));
    restore_and_return(as);
    return label;
  };
  const asmjit::Label leave_jump = leave_for(Leave::kJump);
  const asmjit::Label leave_link = leave_for(Leave::kLink);
  const asmjit::Label leave_closed = leave_for(Leave::kClosed);

  // From here on C++ has been called, and has its stack.
  const asmjit::Label leave_flow = as.newLabel();
  as.bind(leave_flow);
  as.mov(a::eax, static_cast<u32>(Leave::kFlow));
  restore_and_return(as);

  // To the translated code in RAX instead of returning to what called out.
  const asmjit::Label go_to = as.newLabel();
  as.bind(go_to);
  to_return_stack(as);
  as.mov(kT1, kT0);
  reload(as, d);
  emit_unpack_flags(as);
  as.jmp(kT1);

  const asmjit::Label call_out = as.newLabel();
  as.bind(call_out);
  spill(as, d, bodies, true);
  as.mov(a::rsi, kT0);
  call(as, callbacks.run);
  return_or_go(as, d, leave_flow, go_to);

  const asmjit::Label slow_access = as.newLabel();
  const asmjit::Label got = as.newLabel();
  as.bind(slow_access);
  spill(as, d, bodies, true);
  as.mov(a::rsi, kT0);
  as.mov(a::rdx, kT1);
  call(as, callbacks.access);
  as.mov(kT1, a::rax);
  as.test(a::rax, a::rax);
  as.jnz(got);
  as.mov(kT0, a::rdx);
  as.cmp(kT0, static_cast<u32>(kLeave));
  as.je(leave_flow);
  as.ja(go_to);
  as.bind(got);
  as.mov(kT2, a::rdx);
  reload_vectors(as, bodies);
  reload(as, d);
  return_to_caller(as);

  const asmjit::Label code_store = as.newLabel();
  as.bind(code_store);
  spill(as, d, bodies, true);
  as.mov(a::rsi, kT0);
  as.mov(a::rdx, kT1);
  call(as, callbacks.code_store);
  return_or_go(as, d, leave_flow, go_to, &bodies);

  // RAX: the VectorBits that are needed. Returns whether the instructions may run, with all loaded then.
  const asmjit::Label load_vectors = as.newLabel();
  const asmjit::Label closed = as.newLabel();
  as.bind(load_vectors);
  spill(as, d, bodies, true);
  as.mov(a::rsi, kT0);
  call(as, callbacks.open_vectors);
  as.test(a::eax, a::eax);
  as.jz(closed);
  as.mov(a::ecx, a::eax);
  as.call(bodies.load_vectors);
  as.mov(a::eax, 1);
  as.bind(closed);
  reload(as, d);
  return_to_caller(as);

  // Jumped to. The flags that only the host's held have been saved.
  const asmjit::Label host_fault = as.newLabel();
  const asmjit::Label handled = as.newLabel();
  as.bind(host_fault);
  spill(as, d, bodies, false);
  as.mov(a::rsi, kT0);
  as.mov(a::rdx, kT1);
  call(as, callbacks.host_fault);
  as.cmp(a::rax, static_cast<u32>(kLeave));
  as.jne(handled);
  as.mov(a::eax, static_cast<u32>(Leave::kFlow));
  restore_and_return(as);
  as.bind(handled);
  as.mov(kT1, a::rax);
  reload_vectors(as, bodies);
  to_return_stack(as);
  reload(as, d);
  emit_unpack_flags(as);
  as.jmp(kT1);

  // Returns that were not expected where the host came out, and those beyond the bottom of the stack, whose
  // last word leads here again. The return's handler does what is not found, from the start.
  std::array<asmjit::Label, 2> return_unknown, return_beyond;
  for (u64 half = 0; half < 2; ++half) {
    const asmjit::Label miss = as.newLabel();
    return_unknown[half] = as.newLabel();
    return_beyond[half] = as.newLabel();
    as.bind(return_beyond[half]);
    as.lea(a::rsp, a::ptr(a::rsp, -8));
    as.bind(return_unknown[half]);
    as.mov(field(offsetof(Context, return_site), 8), kT2);
    emit_find_jump(as, half, miss);
    emit_go_to_found(as);
    as.bind(miss);
    emit_pack_flags(as);
    spill(as, d, bodies, false);
    as.mov(a::rsi, field(offsetof(Context, return_site), 8));
    call(as, callbacks.missed_return);
    as.cmp(kT0, static_cast<u32>(kLeave));
    as.je(leave_flow);
    as.jmp(go_to);
  }

  const asmjit::Label system_call = as.newLabel(), system_return = as.newLabel();
  as.bind(system_call);
  emit_system_call(as, d, {call_out, leave_jump});
  as.bind(system_return);
  emit_system_return(as, d, {call_out, leave_jump});

  // IRET to the next instruction serializes (SDM vol. 3A §9.3) and, unlike CPUID, is not a VM exit.
  const asmjit::Label serialize = as.newLabel();
  const asmjit::Label serialized = as.newLabel();
  as.bind(serialize);
  as.mov(a::rax, a::rsp);
  as.mov(a::ecx, a::ss);
  as.push(a::rcx);
  as.push(a::rax);
  as.pushfq();
  as.mov(a::ecx, a::cs);
  as.push(a::rcx);
  as.lea(a::rcx, a::ptr(serialized));
  as.push(a::rcx);
  as.iretq();
  as.bind(serialized);
  as.ret();

  const u8* const base = cache.append(holder);
  VELLUM_ASSERT(base != nullptr, "the routines of translated code do not assemble");
  const auto at = [&](const asmjit::Label& label) { return base + holder.labelOffset(label); };
  context.leave_jump = at(leave_jump);
  context.leave_link = at(leave_link);
  context.call_out = at(call_out);
  context.slow_access = at(slow_access);
  context.code_store = at(code_store);
  context.leave_closed = at(leave_closed);
  context.load_vectors = at(load_vectors);
  context.system_call = at(system_call);
  context.system_return = at(system_return);
  Routines routines;
  for (std::size_t half = 0; half < 2; ++half) {
    context.return_unknown[half] = at(return_unknown[half]);
    context.return_beyond[half] = at(return_beyond[half]);
  }
  // SAFETY: the functions that were just emitted. Clang takes no function pointer from a pointer to const.
  routines.enter = reinterpret_cast<u64 (*)(const u8*)>(const_cast<u8*>(at(enter)));
  routines.host_fault = at(host_fault);
  routines.serialize = reinterpret_cast<void (*)()>(const_cast<u8*>(at(serialize)));
  return routines;
}

}  // namespace vellum::bt
