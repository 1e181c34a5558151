// Near jumps, and how one unit goes on to the next.
#include "cpu/bt/emitter.hpp"
#include "cpu/bt/jump_lookup.hpp"

namespace vellum::bt {

// Leaves with RIP = rip. The flags are packed.
void Emitter::leave_at(u64 rip) {
  load_constant(kT0, rip);
  as_.mov(d_.rip(), kT0);
  as_.jmp(field(offsetof(Context, leave_jump), 8));
}

// A target in the other half is not found: privilege changes on the way there, or it faults.
void Emitter::find_jump(const asmjit::Label& miss) {
  emit_find_jump(as_, half(), miss);
}

void Emitter::leave_to_link(u64 target, u32 number) {
  load_constant(kT0, target);
  as_.mov(d_.rip(), kT0);
  as_.mov(field(offsetof(Context, link), 4), number);
  as_.jmp(field(offsetof(Context, leave_link), 8));
}

// What a linked jump looks at first, in RCX with all flags as they are: whether something pends, if it may
// close a loop (to `stop`, near, with RCX in R14); whether the mapping and privilege are those under which
// this vCPU may take it, if it leads to another page.
void Emitter::guard_jump(std::optional<u64> other_page, bool looks, LinkSpot& spot, const asmjit::Label& out,
                         const asmjit::Label& stop) {
  if (!other_page && !looks) return;
  as_.mov(kT1, a::rcx);
  if (looks) {
    as_.mov(a::rcx, field(offsetof(Context, poll), 8));
    as_.jecxz(a::rcx, stop);
  }
  if (other_page) {
    const asmjit::Label good = as_.newLabel();
    as_.mov(a::ecx, field(offsetof(Context, code_serial) + 4 * (*other_page >> 63), 4));
    spot.far = source_.first_far + far_links_++;
    as_.mov(kT2.r32(), field(offsetof(Context, far_serials) + 4 * spot.far, 4));
    as_.lea(a::ecx, a::ptr(a::rcx, kT2));
    as_.jecxz(a::rcx, good);
    as_.mov(a::rcx, kT1);
    as_.jmp(out);
    as_.bind(good);
  }
  as_.mov(a::rcx, kT1);
}

// Where guard_jump() stops: something pends, and RIP is to be `target`.
void Emitter::stop_before(u64 target, const asmjit::Label& stop) {
  const asmjit::Label pending = as_.newLabel();
  as_.bind(stop);
  as_.mov(a::rcx, kT1);
  as_.jmp(pending);
  cold_.push_back([this, pending, target] {
    as_.bind(pending);
    pack_host_flags();
    leave_at(target);
  });
}

// A chain of jumps to higher addresses ends, so that of jumps only those to the unit's start or before look
// for what pends; of calls each does, whose returns do not (call_to()). Units that count look for themselves.
bool Emitter::loops_to(u64 target) const {
  return !source_.counted && target <= source_.linear;
}

// 64-bit user code reads what cannot be read while something pends, and so pays one or two microseconds, or
// as many tens in some hosts, for each timer's interrupt. The kernel, where other processors' interrupts come
// by the thousand, looks whether the pointer is there.
bool Emitter::polls() const {
  return !source_.counted && source_.wide && half() == 0;
}

// Before the jump of this instruction: its fault leaves there. Takes R14.
void Emitter::poll() {
  as_.mov(kT1, field(offsetof(Context, poll), 8));
  Site& site = make_site(0, false);
  site.poll = true;
  site.fresh = pack_flags(x86::rflags::kArithmetic);
  const std::size_t begin = as_.offset();
  as_.movzx(kT1.r32(), a::byte_ptr(kT1));
  fault_spots_.push_back({begin, as_.offset(), as_.offset(), &site});
}

// What follows is an instruction of `opcode` bytes and a displacement, which is patched while others may be
// running here: at once, if it is aligned.
void Emitter::align_displacement(unsigned opcode) {
  constexpr u8 kNops[][3] = {{}, {0x90}, {0x66, 0x90}, {0x0f, 0x1f, 0x00}};
  if (!source_.shared) return;
  const std::size_t bytes = (0 - (as_.offset() + opcode)) % 4;
  if (bytes != 0) as_.embed(kNops[bytes], bytes);
}

// `spot` is to be patched: the 32-bit displacement just emitted, which leads to `out` until then.
void Emitter::add_link(LinkSpot spot, const asmjit::Label& out) {
  const u32 number = source_.first_link + static_cast<u32>(links_.size());
  spot.offset = as_.offset() - 4;
  spot.vectors = vectors_;
  links_.push_back(spot);
  const bool far = leaves_page(spot.target);
  cold_.push_back([this, out, target = spot.target, number, far] {
    as_.bind(out);
    if (far) {
      const asmjit::Label miss = as_.newLabel();
      load_constant(kT0, target);
      find_jump(miss);
      emit_go_to_found(as_);
      as_.bind(miss);
    }
    pack_host_flags();
    leave_to_link(target, number);
  });
}

// A direct transfer to `target`. Within the page it is linked: whoever runs here was let in under a mapping
// of this page that is still in force. If what is there may be in another page (leaves_page()), it is linked
// for one mapping and privilege, and looked up under others. Where it may close a loop, poll() has been
// there, or it looks.
//
// What makes code stale is this vCPU's own store, which leaves translated code, or another processor's, which
// pends like an interrupt.
void Emitter::jump_to(u64 target) {
  need_flags(x86::rflags::kArithmetic);
  const asmjit::Label out = as_.newLabel(), stop = as_.newLabel();
  LinkSpot spot{.target = target};
  const bool far = leaves_page(target);
  const bool looks = loops_to(target) && !polls();
  guard_jump(far ? std::optional(target) : std::nullopt, looks, spot, out, stop);
  align_displacement(1);
  as_.long_().jmp(out);
  add_link(spot, out);
  if (looks) stop_before(target, stop);
}

u64 Emitter::direct_target() const {
  const u64 target = next_rip_ + insn_->operands[0].imm.value.u;
  return source_.wide ? target : static_cast<u32>(target);
}

void Emitter::jump() {
  const u64 target = direct_target();
  if (loops_to(target) && polls()) {
    need_flags(x86::rflags::kArithmetic);
    poll();
  }
  jump_to(target);
}

void Emitter::jump_if() {
  constexpr asmjit::InstId kJumps[] = {a::Inst::kIdJo, a::Inst::kIdJno, a::Inst::kIdJb,  a::Inst::kIdJnb,
                                       a::Inst::kIdJz, a::Inst::kIdJnz, a::Inst::kIdJbe, a::Inst::kIdJnbe,
                                       a::Inst::kIdJs, a::Inst::kIdJns, a::Inst::kIdJp,  a::Inst::kIdJnp,
                                       a::Inst::kIdJl, a::Inst::kIdJnl, a::Inst::kIdJle, a::Inst::kIdJnle};
  const u64 target = direct_target();
  const bool far = leaves_page(target);
  need_flags(x86::rflags::kArithmetic);
  if (loops_to(target) && polls()) poll();
  const asmjit::InstId jcc = kJumps[insn_->info.opcode & 15];
  const asmjit::Label taken = as_.newLabel();
  if (!far && (!loops_to(target) || polls())) {  // nothing to be looked at: linked as it is
    align_displacement(2);
    as_.long_().emit(jcc, taken);
    add_link({.target = target}, taken);
    jump_to(next_rip_);
    return;
  }
  as_.emit(jcc, taken);
  jump_to(next_rip_);
  as_.bind(taken);
  jump_to(target);
}

// What is not found is left to the handler, which also faults on a target that is not canonical: nothing has
// been changed by then.
void Emitter::miss_calls_out(const asmjit::Label& miss, bool flags_in_host) {
  const Site& site = make_site(0, false);
  cold_.push_back([this, miss, &site, flags_in_host] {
    as_.bind(miss);
    if (flags_in_host) pack_host_flags();
    site_to_scratch(site);
    as_.call(field(offsetof(Context, call_out), 8));
    as_.ud2();
  });
}

// RAX holds the target: all flags into the host's.
void Emitter::target_needs_flags() {
  if (host_ == x86::rflags::kArithmetic) return;
  const a::Mem target = field(offsetof(Context, target), 8);
  as_.mov(target, kT0);
  need_flags(x86::rflags::kArithmetic);
  as_.mov(kT0, target);
}

// An access of an instruction whose handler leaves: nobody goes on behind it.
void Emitter::end_access_of_jump() {
  if (flat_open_) return close_flat();
  open_ = false;
  cold_.push_back([this, skip = slow_.back().skip] {
    as_.bind(skip);
    as_.ud2();
  });
}

// RAX := the target. Its slow path's handler leaves.
void Emitter::target_to_scratch() {
  const ZydisDecodedOperand& o = insn_->operands[0];
  if (form_->memory >= 0) {
    as_.mov(sized(kT0, word()), memory_operand(o, word(), false));
    end_access_of_jump();
    return;
  }
  scratch_ = {kT0};
  const a::Gp host = register_operand(o);
  borrowed_.clear();
  if (!source_.wide)
    as_.mov(kT0.r32(), host.r32());
  else if (host != kT0)
    as_.mov(kT0, host);
}

void Emitter::jump_indirect() {
  const asmjit::Label miss = as_.newLabel();
  target_to_scratch();
  target_needs_flags();
  find_jump(miss);
  emit_go_to_found(as_);
  miss_calls_out(miss, true);
}

}  // namespace vellum::bt
