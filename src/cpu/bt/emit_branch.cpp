// Near transfers, and how one unit goes on to the next.
#include "cpu/bt/emitter.hpp"

namespace vellum::bt {

namespace {

const a::Gp kGuestRsp = a::gpq(static_cast<u32>(kHostOf[x86::kRsp]));

constexpr i64 jump_at(std::size_t offset_in_entry) {
  return static_cast<i64>(offsetof(Context, jumps) + offset_in_entry);
}

}  // namespace

// Leaves with RIP = rip.
void Emitter::leave_at(u64 rip) {
  load_constant(kT0, rip);
  as_.mov(d_.rip(), kT0);
  as_.jmp(field(offsetof(Context, leave_jump), 8));
}

// RAX: a guest-virtual address. Goes to its translation, if one is known, with all registers but scratch
// untouched.
void Emitter::look_up_jump(const asmjit::Label& miss, i32 stack_bytes) {
  // A target in the other half is not found here: privilege changes on the way there, or it faults.
  const u64 half = source_.linear >> 63;
  as_.mov(kT2, kT0);
  as_.xor_(kT2, field(offsetof(Context, code_context) + 8 * half, 8));
  as_.xor_(kT1.r32(), kT1.r32());
  as_.crc32(kT1, kT2);
  as_.and_(kT1.r32(), (1u << Context::kJumpBits) - 1);
  as_.shl(kT1.r32(), 4);
  static_assert(sizeof(JumpEntry) == 16);
  as_.cmp(kT2, gs_at(kT1, jump_at(offsetof(JumpEntry, tag)), 8));
  as_.jne(miss);
  if (stack_bytes != 0) as_.lea(kGuestRsp, a::ptr(kGuestRsp, stack_bytes));
  as_.jmp(gs_at(kT1, jump_at(offsetof(JumpEntry, entry)), 8));
}

void Emitter::leave_to_link(u64 target, u32 number) {
  load_constant(kT0, target);
  as_.mov(d_.rip(), kT0);
  as_.mov(field(offsetof(Context, link), 4), number);
  as_.jmp(field(offsetof(Context, leave_link), 8));
}

// A direct transfer to `target`; flags are packed. Within the page it is linked: whoever runs here was let in
// under a mapping of this page that is still in force. To another page it is linked for one mapping and
// privilege, and looked up under others.
//
// A chain of jumps forward within a page ends, so that only jumps back look for hazards; and what would make
// the page's units stale is either this vCPU's own store, which leaves translated code, or another
// processor's, which this one need not see before it serializes (SDM vol. 3A §8.1.3).
void Emitter::jump_to(u64 target) {
  const asmjit::Label out = as_.newLabel();
  const u32 number = source_.first_link + static_cast<u32>(links_.size());
  LinkSpot spot{.target = target};
  if (target >> kPageShift == source_.linear >> kPageShift) {
    spot.forward = target > source_.linear;
    as_.long_().jmp(out);
    spot.offset = as_.offset() - 4;
    links_.push_back(spot);
    cold_.push_back([this, out, target, number] {
      as_.bind(out);
      leave_to_link(target, number);
    });
    return;
  }
  constexpr i32 kNoSerial = 0x7fffffff;
  as_.cmp(field(offsetof(Context, code_serial) + 4 * (target >> 63), 4), kNoSerial);
  spot.guard = as_.offset() - 4;
  as_.jne(out);
  as_.long_().jmp(out);
  spot.offset = as_.offset() - 4;
  links_.push_back(spot);
  cold_.push_back([this, out, target, number] {
    const asmjit::Label miss = as_.newLabel();
    as_.bind(out);
    load_constant(kT0, target);
    look_up_jump(miss);
    as_.bind(miss);
    leave_to_link(target, number);
  });
}

void Emitter::jump() {
  save_flags();
  jump_to(next_rip_ + insn_->operands[0].imm.value.u);
}

void Emitter::jump_if() {
  constexpr asmjit::InstId kJumps[] = {a::Inst::kIdJo, a::Inst::kIdJno, a::Inst::kIdJb,  a::Inst::kIdJnb,
                                       a::Inst::kIdJz, a::Inst::kIdJnz, a::Inst::kIdJbe, a::Inst::kIdJnbe,
                                       a::Inst::kIdJs, a::Inst::kIdJns, a::Inst::kIdJp,  a::Inst::kIdJnp,
                                       a::Inst::kIdJl, a::Inst::kIdJnl, a::Inst::kIdJle, a::Inst::kIdJnle};
  constexpr asmjit::InstId kSets[] = {
      a::Inst::kIdSeto, a::Inst::kIdSetno, a::Inst::kIdSetb,  a::Inst::kIdSetnb,
      a::Inst::kIdSetz, a::Inst::kIdSetnz, a::Inst::kIdSetbe, a::Inst::kIdSetnbe,
      a::Inst::kIdSets, a::Inst::kIdSetns, a::Inst::kIdSetp,  a::Inst::kIdSetnp,
      a::Inst::kIdSetl, a::Inst::kIdSetnl, a::Inst::kIdSetle, a::Inst::kIdSetnle};
  const unsigned cc = insn_->info.opcode & 15;
  const asmjit::Label taken = as_.newLabel();
  using x86::rflags::kArithmetic;
  const bool whole = host_ == kArithmetic || packed_ == kArithmetic;
  if ((form_->reads & ~host_) == 0 && !whole) {
    // Saving a part of the flags costs the host's: the condition is kept aside.
    as_.emit(kSets[cc], kT1.r8());
    save_flags();
    as_.test(kT1.r8(), kT1.r8());
    as_.jnz(taken);
  } else {
    save_flags();
    need_flags(form_->reads);
    as_.emit(kJumps[cc], taken);
  }
  jump_to(next_rip_);
  as_.bind(taken);
  jump_to(next_rip_ + insn_->operands[0].imm.value.u);
}

void Emitter::push_return_address() {
  const a::Mem top = stack_operand(kGuestRsp, -8, true);
  if (const auto low = static_cast<i32>(next_rip_); static_cast<u64>(i64{low}) == next_rip_) {
    as_.mov(top, asmjit::imm(low));
  } else {
    as_.mov(kT0, asmjit::imm(next_rip_));
    as_.mov(top, kT0);
  }
  as_.lea(kGuestRsp, a::ptr(kGuestRsp, -8));
  stored();
  end_access();  // never reached from the slow path's handler: it leaves with Flow::kJump
}

void Emitter::call() {
  const u64 target = next_rip_ + insn_->operands[0].imm.value.u;
  push_return_address();
  if (!flat_here()) slow_.back().site->after_rip = target;
  jump_to(target);
}

// What is not found is left to the handler, which also faults on a target that is not canonical: nothing has
// been changed by then.
void Emitter::miss_calls_out(const asmjit::Label& miss) {
  const Site& site = make_site(0, false);
  cold_.push_back([this, miss, &site] {
    as_.bind(miss);
    site_to_scratch(site);
    as_.call(field(offsetof(Context, call_out), 8));
    as_.ud2();
  });
}

void Emitter::ret() {
  const asmjit::Label miss = as_.newLabel();
  const bool adjusts = insn_->info.operand_count_visible > 0;
  as_.mov(kT0, stack_operand(kGuestRsp, 0, false));
  look_up_jump(miss, 8 + (adjusts ? static_cast<u16>(insn_->operands[0].imm.value.u) : 0));
  end_access();
  as_.ud2();
  miss_calls_out(miss);
}

// RAX := the target. Its slow path's handler leaves.
void Emitter::target_to_scratch() {
  const ZydisDecodedOperand& o = insn_->operands[0];
  if (form_->memory >= 0) {
    as_.mov(kT0, memory_operand(o, 8, false));
    end_access();
    return;
  }
  scratch_ = {kT0};
  const a::Gp host = register_operand(o);
  borrowed_.clear();
  if (host != kT0) as_.mov(kT0, host);
}

void Emitter::jump_indirect() {
  const asmjit::Label miss = as_.newLabel();
  target_to_scratch();
  look_up_jump(miss);
  miss_calls_out(miss);
}

void Emitter::call_indirect() {
  const asmjit::Label strange = as_.newLabel(), miss = as_.newLabel();
  target_to_scratch();
  as_.mov(kT1, kT0);
  as_.shl(kT1, 16);
  as_.sar(kT1, 16);
  as_.cmp(kT1, kT0);
  as_.jne(strange);
  miss_calls_out(strange);
  const a::Mem target = field(offsetof(Context, target), 8);
  as_.mov(target, kT0);
  push_return_address();
  if (!flat_here()) slow_.back().site->after_is_target = true;
  as_.mov(kT0, target);
  look_up_jump(miss);
  cold_.push_back([this, miss] {
    as_.bind(miss);
    as_.mov(d_.rip(), kT0);
    as_.jmp(field(offsetof(Context, leave_jump), 8));
  });
}

}  // namespace vellum::bt
