// Vector and x87 instructions: the guest's own, on the host's registers (vector_state.hpp).
#include <bit>

#include "cpu/bt/emitter.hpp"
#include "cpu/bt/reencode.hpp"
#include "cpu/bt/vector_state.hpp"

namespace vellum::bt {

namespace {

// PCMPxSTRx use these by themselves.
static_assert(kHostOf[x86::kRcx] == x86::kRcx && kHostOf[x86::kRdx] == x86::kRdx);

a::Mem state_word(const Distances& d, std::size_t offset_in_legacy, unsigned bytes) {
  return d.at(static_cast<u16>(offsetof(VcpuState, xsave) + offsetof(XsaveArea, legacy) + offset_in_legacy),
              bytes);
}
constexpr std::size_t kFip = 8, kFdp = 16;

}  // namespace

// The VectorBits of the instructions from `first` to the next that always calls out.
u32 Emitter::vectors_needed(unsigned first) const {
  u32 needed = 0;
  for (std::size_t n = first; n < forms_.size() && forms_[n].scheme != Scheme::kCallOut; ++n)
    needed |= forms_[n].vectors;
  return needed;
}

// From here to the next callout: what its instructions need is there, or translated code is left. At the
// unit's start or behind a callout: all flags are in the host's, and stay there, or packed.
void Emitter::check_vectors() {
  const u32 needed = vectors_needed(n_);
  if (needed == 0) return;
  vectors_ = needed;
  const asmjit::Label load = as_.newLabel(), loaded = as_.newLabel();
  const bool in_host = packed_ != x86::rflags::kArithmetic;
  if (in_host) {
    // PEXT packs the needed bits; all of them are set if the sum is 0.
    const asmjit::Label open = as_.newLabel();
    as_.mov(kT1, a::rcx);
    as_.mov(kT0.r32(), needed);
    as_.mov(a::ecx, field(offsetof(Context, vectors), 4));
    as_.pext(a::ecx, a::ecx, kT0.r32());
    as_.lea(a::ecx, a::ptr(a::rcx, -((1 << std::popcount(needed)) - 1)));
    as_.jecxz(a::rcx, open);
    as_.mov(a::rcx, kT1);
    as_.jmp(load);
    as_.bind(open);
    as_.mov(a::rcx, kT1);
  } else {
    for (u32 bit = kSseOpen; bit <= kX87Open; bit <<= 1) {
      if ((needed & bit) == 0) continue;
      as_.test(field(offsetof(Context, vectors), 1), bit);
      as_.jz(load);
    }
  }
  as_.bind(loaded);
  cold_.push_back([this, load, loaded, rip = next_rip_, first = n_, fip = fip_, in_host] {
    as_.bind(load);
    fip_ = fip;
    if (in_host) pack_host_flags();
    const asmjit::Label again = as_.newLabel();
    load_vectors_again(in_host ? again : loaded, rip, first);
    if (in_host) {
      as_.bind(again);
      unpack_host_flags();
      as_.jmp(loaded);
    }
    fip_.reset();
  });
}

// Cold: what the instructions from `first`, at `rip`, need. Goes on at `resume`, or behind itself if they
// need nothing.
void Emitter::load_vectors_again(const asmjit::Label& resume, u64 rip, unsigned first) {
  const u32 needed = vectors_needed(first);
  if (needed == 0) return;
  as_.mov(a::eax, needed);
  as_.call(field(offsetof(Context, load_vectors), 8));
  as_.test(a::eax, a::eax);
  as_.jnz(resume);
  leave_closed_at(rip, first);
}

// Leaves before instruction `first`, at `rip`, for its handler and those behind it to run.
void Emitter::leave_closed_at(u64 rip, unsigned first) {
  store_fip();
  if (source_.counted) as_.add(field(offsetof(Context, left), 8), source_.unit.count - first);
  load_constant(kT0, rip);
  as_.mov(d_.rip(), kT0);
  as_.jmp(field(offsetof(Context, leave_closed), 8));
}

// FIP := the last x87 instruction's address. Takes RAX; keeps the flags.
void Emitter::store_fip() {
  if (!fip_) return;
  load_constant(kT0, *fip_);
  as_.mov(state_word(d_, kFip, 8), kT0);
  fip_.reset();
}

void Emitter::vector() {
  const bool memory = form_->memory >= 0;
  const bool write = form_->memory_written;
  const bool flat = memory && flat_here();
  const auto settle_flags = [this] {
    before_writing(form_->writes, form_->clobbers);
    if (form_->reads != 0) need_flags(form_->reads);
  };
  a::Mem in_memory;
  if (flat) {
    // A legacy instruction's misaligned operand faults in the host as in the guest.
    const ZydisDecodedOperand& m = insn_->operands[static_cast<unsigned>(form_->memory)];
    settle_flags();
    if (form_->sets_fip) {
      address_of(m, false);
      as_.mov(field(offsetof(Context, data_address), 8), kT1);
    }
    in_memory = flat_operand(m, m.size / 8, write);
    scratch_ = {kT0};
  } else if (memory) {
    const ZydisDecodedOperand& m = insn_->operands[static_cast<unsigned>(form_->memory)];
    if (form_->sets_fip) {
      // FDP is the offset within the segment.
      address_of(m, false);
      as_.mov(field(offsetof(Context, data_address), 8), kT1);
      add_segment_base(m);
    } else {
      address_of(m);
    }
    if (form_->alignment != 0) {
      const asmjit::Label misaligned = as_.newLabel();
      as_.test(kT1.r8(), form_->alignment);
      as_.jnz(misaligned);
      miss_calls_out(misaligned);
    }
    in_memory = look_up(m.size / 8, write);
    scratch_ = write ? std::vector<a::Gp>{kT0} : std::vector<a::Gp>{kT2, kT0};
  } else {
    scratch_ = {kT2, kT1, kT0};
  }
  if (!flat) settle_flags();
  std::optional<unsigned> gpr;
  bool implicit_rax = false;
  for (unsigned n = 0; n < insn_->info.operand_count; ++n) {
    const ZydisDecodedOperand& o = insn_->operands[n];
    if (o.type != ZYDIS_OPERAND_TYPE_REGISTER || !x86::is_general_register(o.reg.value)) continue;
    if (o.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
      gpr = register_operand(o).id();
    else
      implicit_rax |=
          ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, o.reg.value) == ZYDIS_REGISTER_RAX;
  }
  if (implicit_rax) as_.mov(kT0, kGuestRax);  // PCMPESTRI, PCMPESTRM
  const HostInsn host = reencode(*insn_, gpr, memory ? &in_memory : nullptr);
  as_.embed(host.bytes.data(), host.size);
  after_writing(form_->writes, form_->clobbers);
  store_borrowed();
  if (memory && form_->sets_fip) {
    as_.mov(kT0, field(offsetof(Context, data_address), 8));
    as_.mov(state_word(d_, kFdp, 8), kT0);
  }
  if (memory && write) stored();
  end_access();
  if (form_->sets_fip) fip_ = next_rip_ - insn_->length();
}

// FLDCW, LDMXCSR: while they mask all exceptions. Otherwise, or if the handler ran it and left the state not
// loaded, translated code ends here.
void Emitter::load_control() {
  const bool x87 = insn_->info.mnemonic == ZYDIS_MNEMONIC_FLDCW;
  const unsigned bytes = x87 ? 2 : 4;
  const asmjit::Label unmasks = as_.newLabel(), gone = as_.newLabel();
  const a::Mem value = field(offsetof(Context, scratch), bytes);
  address_of(insn_->operands[static_cast<unsigned>(form_->memory)]);
  const a::Mem in_memory = look_up(bytes, false);
  if (x87) {
    constexpr u32 kMasks = 0x3f;
    as_.movzx(a::eax, in_memory);
    as_.mov(value, a::ax);
    as_.and_(a::eax, kMasks);
    as_.cmp(a::eax, kMasks);
  } else {
    constexpr u32 kMasks = 0x1f80, kReserved = 0xffff0000;
    as_.mov(a::eax, in_memory);
    as_.mov(value, a::eax);
    as_.and_(a::eax, static_cast<i32>(kMasks | kReserved));
    as_.cmp(a::eax, kMasks);
  }
  as_.jne(unmasks);
  if (x87)
    as_.fldcw(value);
  else
    as_.ldmxcsr(value);
  end_access();
  as_.test(field(offsetof(Context, vectors), 1), u32{form_->vectors});
  as_.jz(gone);
  cold_.push_back([this, unmasks, gone, rip = next_rip_, length = insn_->length(), n = n_, fip = fip_] {
    as_.bind(unmasks);
    fip_ = fip;
    leave_closed_at(rip - length, n);
    as_.bind(gone);
    fip_ = fip;
    leave_closed_at(rip, n + 1);
  });
}

void Emitter::status_to_ax() {
  as_.fnstsw(a::ax);
  as_.mov(kGuestRax.r16(), a::ax);
}

}  // namespace vellum::bt
