// Integer instructions that the host's own cannot stand for as they are.
#include "cpu/bt/emitter.hpp"

namespace vellum::bt {

using namespace x86::rflags;

// The host's own division, once it is sure not to fault: for DIV if the upper half of the dividend is less
// than the divisor; for IDIV only in the usual case that the dividend is a sign-extended half and the divisor
// neither 0 nor -1. The rest, #DE included, is the handler's. Flags stay as they are.
void Emitter::divide() {
  const ZydisDecodedOperand& o = insn_->operands[0];
  const unsigned bytes = o.size / 8;
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel();
  // Memory is read once: another processor may change it between the test and the division.
  a::Gp divisor = sized(kT2, bytes);
  if (form_->memory >= 0) {
    address_of(o);
    as_.mov(divisor, look_up(bytes, false));
    open_ = false;
    const asmjit::Label skip = slow_.back().skip;
    cold_.push_back([this, skip, done] {
      as_.bind(skip);
      as_.jmp(done);
    });
  } else {
    scratch_ = {kT2};
    divisor = register_operand(o);
    borrowed_.clear();
  }
  const a::Gp low = sized(kT0, bytes), high = sized(a::rdx, bytes);
  as_.mov(kT0, kGuestRax);
  if (insn_->info.mnemonic == ZYDIS_MNEMONIC_DIV) {
    as_.cmp(high, divisor);
    as_.jae(otherwise);
    as_.div(divisor);
  } else {
    const a::Gp sign = sized(kT1, bytes);
    as_.mov(sign, low);
    as_.sar(sign, 8 * bytes - 1);
    as_.cmp(sign, high);
    as_.jne(otherwise);
    as_.lea(sign, a::ptr(divisor.r64(), 1));  // 0 and -1 become 1 and 0
    as_.cmp(sign, 1);
    as_.jbe(otherwise);
    as_.idiv(divisor);
  }
  as_.mov(kGuestRax, kT0);
  as_.bind(done);
  host_ = 0;
  call_out_at(otherwise, done);
}

// The bit offset counts from the operand's address, in both directions (SDM vol. 2A, BT).
void Emitter::bit_in_memory() {
  const ZydisDecodedOperand& m = insn_->operands[0];
  const unsigned bytes = m.size / 8;
  const bool write = form_->memory_written;
  address_of(m, false);
  scratch_ = {kT0};
  a::Gp bit = register_operand(insn_->operands[1]);
  borrowed_.clear();
  if (bytes == 4)
    as_.movsxd(kT0, bit);
  else if (bit != kT0)
    as_.mov(kT0, bit);
  as_.sar(kT0, bytes == 8 ? 6 : 5);
  as_.lea(kT1, a::ptr(kT1, kT0, bytes == 8 ? 3 : 2));
  if (insn_->info.address_width == 32) as_.mov(kT1.r32(), kT1.r32());
  add_segment_base(m);
  const a::Mem in_memory = look_up(bytes, write);
  scratch_ = {kT0};
  bit = register_operand(insn_->operands[1]);
  borrowed_.clear();
  as_.mov(kT0.r32(), bit.r32());
  as_.and_(kT0.r32(), m.size - 1);
  if ((insn_->info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0) as_.lock();
  as_.emit(form_->host, in_memory, sized(kT0, bytes));
  after_writing(kCf, 0);
  if (write) {
    save_flags(true);
    stored();
  }
  end_access();
}

// CMPXCHG16B. A misaligned operand faults: the handler's business.
void Emitter::exchange_pairs() {
  const asmjit::Label otherwise = as_.newLabel();
  address_of(insn_->operands[0]);
  as_.test(kT1.r8(), 15);
  as_.jnz(otherwise);
  const a::Mem in_memory = look_up(16, true);
  as_.mov(kT0, kGuestRax);
  if ((insn_->info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0) as_.lock();
  as_.cmpxchg16b(in_memory);
  as_.mov(kGuestRax, kT0);
  after_writing(kZf, 0);
  save_flags(true);
  stored();
  end_access();
  call_out_at(otherwise, slow_.back().skip);
}

}  // namespace vellum::bt
