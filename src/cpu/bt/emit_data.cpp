// Instructions on general registers and memory.
#include "base/assert.hpp"
#include "cpu/bt/emitter.hpp"
#include "cpu/bt/flag_moves.hpp"

namespace vellum::bt {

using namespace x86::rflags;

namespace {

// Bits of the value that asmjit is to see: sign-extended from the operation's size.
i64 signed_immediate(const ZydisDecodedOperand& operand, unsigned bytes) {
  const u64 value = operand.imm.value.u;
  switch (bytes) {
    case 1:
      return static_cast<i8>(value);
    case 2:
      return static_cast<i16>(value);
    case 4:
      return static_cast<i32>(value);
    default:
      return static_cast<i64>(value);
  }
}

}  // namespace

// The host register of a guest one; one in memory is loaded into a scratch register.
a::Gp Emitter::register_operand(const ZydisDecodedOperand& operand) {
  const unsigned n = x86::general_register_number(operand.reg.value);
  const unsigned bytes = operand.size / 8;
  const bool high = is_high_byte(operand.reg.value);
  if (kHostOf[n] != kInMemory && !high) return sized(a::gpq(static_cast<u32>(kHostOf[n])), bytes);
  const bool written = (operand.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
  for (Borrowed& b : borrowed_) {
    if (b.gpr != n || b.high != high) continue;
    b.written = b.written || written;
    return sized(b.host, bytes);
  }
  VELLUM_ASSERT(!scratch_.empty(), "{}: no scratch register is left", insn_->info.mnemonic);
  const a::Gp host = scratch_.back();
  scratch_.pop_back();
  borrowed_.push_back({n, host, high, written});
  if (high)
    as_.rorx(host, a::gpq(static_cast<u32>(kHostOf[n])), 8);
  else
    as_.mov(host, d_.gpr(n));
  return sized(host, bytes);
}

void Emitter::store_borrowed() {
  for (const Borrowed& b : borrowed_) {
    if (!b.written) continue;
    if (b.high) {
      const a::Gp whole = a::gpq(static_cast<u32>(kHostOf[b.gpr]));
      as_.rorx(whole, whole, 8);
      as_.mov(whole.r8(), b.host.r8());
      as_.rorx(whole, whole, 56);
    } else {
      as_.mov(d_.gpr(b.gpr), b.host);
    }
  }
  borrowed_.clear();
}

void Emitter::generic() {
  const bool memory = form_->memory >= 0;
  const bool write = form_->memory_written;
  a::Mem in_memory;
  const bool flat = memory && flat_here();
  const auto settle_flags = [this] {
    before_writing(form_->writes, form_->clobbers);
    if (form_->reads != 0) need_flags(form_->reads);
  };
  if (flat) settle_flags();  // what the table gives must not be lost again
  if (memory) {
    const ZydisDecodedOperand& m = insn_->operands[static_cast<unsigned>(form_->memory)];
    in_memory = memory_operand(m, m.size / 8, write);
    scratch_ = write || flat ? std::vector<a::Gp>{kT0} : std::vector<a::Gp>{kT2, kT0};
  } else {
    scratch_ = {kT2, kT1, kT0};
  }
  if (!flat) settle_flags();
  std::array<asmjit::Operand, 3> operands;
  const unsigned count = insn_->info.operand_count_visible;
  for (unsigned n = 0; n < count; ++n) {
    const ZydisDecodedOperand& o = insn_->operands[n];
    switch (o.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        operands[n] = register_operand(o);
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        operands[n] = in_memory;
        break;
      default:
        // A count or bit number is a byte by itself; other immediates are of the operation's size.
        operands[n] = asmjit::imm(form_->byte_immediate ? static_cast<i64>(o.imm.value.u & 0xff)
                                                        : signed_immediate(o, insn_->operands[0].size / 8));
        break;
    }
  }
  if ((insn_->info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0) as_.lock();
  as_.emitOpArray(form_->host, operands.data(), count);
  after_writing(form_->writes, form_->clobbers);
  store_borrowed();
  if (memory && write && !flat) {
    save_flags(true);
    stored();
  }
  end_access();
}

void Emitter::lea() {
  const ZydisDecodedOperand& to = insn_->operands[0];
  const unsigned n = x86::general_register_number(to.reg.value);
  const auto& address = insn_->operands[1].mem;
  const auto in_host = [](ZydisRegister r) { return kHostOf[x86::general_register_number(r)] != kInMemory; };
  if (in_host(to.reg.value) && to.size >= 32 && (insn_->info.address_width == 64 || to.size == 32) &&
      address.base != ZYDIS_REGISTER_NONE && address.base != ZYDIS_REGISTER_RIP &&
      address.base != ZYDIS_REGISTER_EIP && in_host(address.base) &&
      (address.index == ZYDIS_REGISTER_NONE || in_host(address.index))) {
    const a::Gp base = a::gpq(static_cast<u32>(kHostOf[x86::general_register_number(address.base)]));
    const auto disp = static_cast<i32>(address.disp.has_displacement ? address.disp.value : 0);
    const u32 shift = shift_of(address.scale);
    const a::Mem from =
        address.index == ZYDIS_REGISTER_NONE
            ? a::ptr(base, disp)
            : a::ptr(base, a::gpq(static_cast<u32>(kHostOf[x86::general_register_number(address.index)])),
                     shift, disp);
    as_.lea(sized(a::gpq(static_cast<u32>(kHostOf[n])), to.size / 8), from);
    return;
  }
  address_of(insn_->operands[1], false);
  if (kHostOf[n] != kInMemory) {
    const a::Gp host = a::gpq(static_cast<u32>(kHostOf[n]));
    as_.mov(sized(host, to.size / 8), sized(kT1, to.size / 8));
  } else if (to.size == 32) {
    as_.mov(kT1.r32(), kT1.r32());
    as_.mov(d_.gpr(n), kT1);
  } else {
    a::Mem m = d_.gpr(n);
    m.setSize(to.size / 8);
    as_.mov(m, sized(kT1, to.size / 8));
  }
}

void Emitter::convert() {
  const a::Gp rax = kGuestRax;
  switch (insn_->info.mnemonic) {
    case ZYDIS_MNEMONIC_CBW:
      as_.movsx(rax.r16(), rax.r8());
      break;
    case ZYDIS_MNEMONIC_CWDE:
      as_.movsx(rax.r32(), rax.r16());
      break;
    case ZYDIS_MNEMONIC_CDQE:
      as_.movsxd(rax, rax.r32());
      break;
    case ZYDIS_MNEMONIC_CWD:
      as_.mov(kT0, rax);
      as_.cwd();
      break;
    case ZYDIS_MNEMONIC_CDQ:
      as_.mov(kT0, rax);
      as_.cdq();
      break;
    default:
      as_.mov(kT0, rax);
      as_.cqo();
      break;
  }
}

void Emitter::multiply() {
  const ZydisDecodedOperand& o = insn_->operands[0];
  const unsigned bytes = o.size / 8;
  asmjit::Operand factor;
  const bool flat = form_->memory >= 0 && flat_here();
  const auto settle_flags = [this] {
    before_writing(form_->writes, form_->clobbers);
    need_flags(form_->reads);
  };
  if (flat) settle_flags();
  if (form_->memory >= 0) factor = memory_operand(o, bytes, false);
  if (!flat) settle_flags();
  if (form_->memory < 0) {
    scratch_ = {kT1};
    factor = register_operand(o);
  }
  as_.mov(kT0, kGuestRax);
  as_.emit(insn_->info.mnemonic == ZYDIS_MNEMONIC_MUL ? a::Inst::kIdMul : a::Inst::kIdImul, factor);
  as_.mov(kGuestRax, kT0);
  borrowed_.clear();
  after_writing(form_->writes, form_->clobbers);
  end_access();
}

void Emitter::exchange_compare() {
  const ZydisDecodedOperand& m = insn_->operands[0];
  const unsigned bytes = m.size / 8;
  const a::Mem in_memory = memory_operand(m, bytes, true);
  as_.mov(kT0, kGuestRax);
  if ((insn_->info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0) as_.lock();
  as_.emit(a::Inst::kIdCmpxchg, in_memory, register_operand(insn_->operands[1]));
  as_.mov(kGuestRax, kT0);
  after_writing(kArithmetic, 0);
  if (open_) save_flags(true);
  stored();
  end_access();
}

// --- The stack (operands of the mode's own size) ---

void Emitter::push() {
  const ZydisDecodedOperand& o = insn_->operands[0];
  const auto size = static_cast<i32>(word());
  const a::Mem top = stack_operand(kGuestRsp, -size, true);
  scratch_ = {kT0};
  if (o.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
    as_.mov(top, asmjit::imm(static_cast<i32>(o.imm.value.s)));
  } else {
    as_.mov(top, sized(register_operand(o), word()));
    borrowed_.clear();
  }
  move_stack_pointer(-size);
  stored();
  end_access();
}

// Two accesses, either of which may be left to the handler, which does the whole instruction.
void Emitter::push_memory() {
  const auto size = static_cast<i32>(word());
  address_of(insn_->operands[0]);
  as_.mov(sized(kT1, word()), look_up(word(), false));
  open_ = false;
  const asmjit::Label skip = slow_.back().skip;
  const a::Mem value = field(offsetof(Context, target), 8);
  as_.mov(value, kT1);
  as_.lea(sized(kT1, word()), a::ptr(kGuestRsp, -size));
  const a::Mem top = look_up(word(), true, true);
  as_.mov(kT0, value);
  as_.mov(top, sized(kT0, word()));
  move_stack_pointer(-size);
  stored();
  end_access();
  as_.bind(skip);
}

// PUSHFQ: VM and RF are pushed as 0.
void Emitter::push_flags() {
  const a::Mem value = field(offsetof(Context, target), 8);
  emit_flags_of_packed(as_, kT1, kT0);
  as_.mov(kT0.r32(), d_.at(offsetof(VcpuState, rflags), 4));
  as_.and_(kT0.r32(), static_cast<u32>(~(kArithmetic | kVm | kRf)));
  as_.or_(kT0.r32(), kT1.r32());
  as_.mov(value, kT0);
  as_.lea(kT1, a::ptr(kGuestRsp, -8));
  const a::Mem top = look_up(8, true, true);
  as_.mov(kT0, value);
  as_.mov(top, kT0);
  as_.lea(kGuestRsp, a::ptr(kGuestRsp, -8));
  stored();
  end_access();
}

void Emitter::pop() {
  const unsigned n = x86::general_register_number(insn_->operands[0].reg.value);
  const a::Mem top = stack_operand(kGuestRsp, 0, false);
  if (kHostOf[n] != kInMemory) {
    as_.mov(sized(a::gpq(static_cast<u32>(kHostOf[n])), word()), top);
  } else {
    as_.mov(kT1, top);
    as_.mov(d_.gpr(n), kT1);
  }
  if (n != x86::kRsp) move_stack_pointer(static_cast<i32>(word()));  // POP RSP: what was popped stays
  end_access();
}

void Emitter::leave() {
  const a::Gp rbp = a::gpq(static_cast<u32>(kHostOf[x86::kRbp]));
  const a::Mem frame = stack_operand(rbp, 0, false);
  as_.mov(sized(kT0, word()), frame);
  as_.lea(sized(kGuestRsp, word()), a::ptr(rbp, static_cast<i32>(word())));
  as_.mov(rbp, kT0);
  end_access();
}

}  // namespace vellum::bt
