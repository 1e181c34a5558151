// Near calls and returns: of 64-bit code, the host's own (docs/design/binary-translation.md, "Calls and
// returns").
#include "cpu/bt/emitter.hpp"
#include "cpu/bt/jump_lookup.hpp"

namespace vellum::bt {

// Whether the return address is one that MOV to memory can have.
bool Emitter::pushes_constant() const {
  return !source_.wide || static_cast<u64>(i64{static_cast<i32>(next_rip_)}) == next_rip_;
}

void Emitter::push_return_address() {
  const auto size = static_cast<i32>(word());
  const a::Mem top = stack_operand(kGuestRsp, -size, true);
  if (pushes_constant()) {
    as_.mov(top, asmjit::imm(static_cast<i32>(next_rip_)));
  } else {
    as_.mov(kT0, asmjit::imm(next_rip_));
    as_.mov(top, kT0);
  }
  move_stack_pointer(-size);
  stored();
  end_access_of_jump();
}

void Emitter::call() {
  const u64 target = direct_target();
  if (polls() && (pairs_returns() || loops_to(target))) {
    need_flags(x86::rflags::kArithmetic);
    poll();
  }
  push_return_address();
  if (!flat_here()) slow_.back().site->after = static_cast<i32>(target - next_rip_);
  if (pairs_returns())
    call_to(target);
  else
    jump_to(target);
}

// As jump_to(), by a CALL of the host. Each looks for what pends, or has polled: a return looks for nothing,
// and calls and returns alone, all to higher addresses, can go on for long.
void Emitter::call_to(u64 target) {
  need_flags(x86::rflags::kArithmetic);
  const asmjit::Label out = as_.newLabel(), refused = as_.newLabel(), stop = as_.newLabel(),
                      returned = as_.newLabel();
  LinkSpot spot{.target = target};
  const bool far = leaves_page(target);
  const bool looks = !source_.counted && !polls();
  guard_jump(far ? std::optional(target) : std::nullopt, looks, spot, refused, stop);
  align_displacement(1);
  as_.call(out);
  add_link(spot, out);
  as_.bind(returned);
  expect_return();
  cold_.push_back([this, refused, out, returned] {
    as_.bind(refused);
    as_.call(out);
    as_.jmp(returned);
  });
  if (looks) stop_before(target, stop);
}

// Where the host comes out of a guest's return: RAX the guest's target, R15 the return's Site, all flags in
// the host's. As anybody may return here, the target is compared: without a change of flags, and by LOOP
// where that is fast, as it is not taken where all is as expected, and then in the way of no prediction.
void Emitter::expect_return() {
  host_ = x86::rflags::kArithmetic;
  packed_ = 0;
  vectors_ = 0;
  const asmjit::Label expected = as_.newLabel(), unexpected = as_.newLabel();
  const u64 negated = (source_.by_loop ? 1 : 0) - next_rip_;
  as_.mov(kT1, a::rcx);
  if (const auto low = static_cast<i32>(negated); static_cast<u64>(i64{low}) == negated) {
    as_.lea(a::rcx, a::ptr(kT0, low));
  } else {
    as_.mov(a::rcx, asmjit::imm(negated));
    as_.lea(a::rcx, a::ptr(a::rcx, kT0));
  }
  if (source_.by_loop) {
    as_.loop(a::rcx, unexpected);
  } else {
    as_.jecxz(a::rcx, expected);
    as_.jmp(unexpected);
    as_.bind(expected);
  }
  as_.mov(a::rcx, kT1);
  jump_to(next_rip_);
  as_.bind(unexpected);
  as_.mov(a::rcx, kT1);
  as_.jmp(field(offsetof(Context, return_unknown) + 8 * half(), 8));
}

void Emitter::ret() {
  const i32 bytes =
      static_cast<i32>(word()) +
      (insn_->info.operand_count_visible > 0 ? static_cast<u16>(insn_->operands[0].imm.value.u) : 0);
  as_.mov(sized(kT0, word()), stack_operand(kGuestRsp, 0, false));
  end_access_of_jump();
  target_needs_flags();
  if (pairs_returns()) {
    move_stack_pointer(bytes);
    Site& site = make_site(0, false);
    site.disp = static_cast<u64>(bytes);
    as_.mov(kT2, asmjit::imm(reinterpret_cast<u64>(&site)));
    as_.ret();
    return;
  }
  const asmjit::Label miss = as_.newLabel();
  find_jump(miss);
  move_stack_pointer(bytes);
  emit_go_to_found(as_);
  miss_calls_out(miss, true);
}

// The target is found before anything is pushed: one that is not canonical faults before.
void Emitter::call_indirect() {
  const asmjit::Label miss = as_.newLabel();
  const a::Mem target = field(offsetof(Context, target), 8), entry = field(offsetof(Context, entry), 8);
  const bool flat = flat_here(), in_register = flat && pushes_constant();
  target_to_scratch();
  target_needs_flags();
  if (!flat) as_.mov(target, kT0);
  find_jump(miss);
  as_.mov(kT0, a::ptr(kT1, static_cast<i32>(offsetof(JumpTable, entries)), 8));
  if (!in_register) as_.mov(entry, kT0);
  miss_calls_out(miss, true);
  if (!flat) save_flags();
  push_return_address();
  if (!flat) slow_.back().site->after_is_target = true;
  need_flags(x86::rflags::kArithmetic);
  if (!pairs_returns()) {
    in_register ? as_.jmp(kT0) : as_.jmp(entry);
    return;
  }
  in_register ? as_.call(kT0) : as_.call(entry);
  expect_return();
}

}  // namespace vellum::bt
