// What 64-bit kernels do all the time at the edge of user code, done by translated code itself where nothing
// is unusual; else the interpreter's handler decides.
#include "cpu/bt/emitter.hpp"
#include "cpu/bt/flag_moves.hpp"
#include "cpu/bt/privilege_routines.hpp"
#include "x86/msr.hpp"

namespace vellum::bt {

using namespace x86::rflags;

void Emitter::privilege() {
  switch (insn_->info.mnemonic) {
    case ZYDIS_MNEMONIC_STAC:
      return access_flag(true);
    case ZYDIS_MNEMONIC_CLAC:
      return access_flag(false);
    case ZYDIS_MNEMONIC_RDMSR:
      return base_msr(false);
    case ZYDIS_MNEMONIC_WRMSR:
      return base_msr(true);
    case ZYDIS_MNEMONIC_RDFSBASE:
      return segment_base_register(x86::Seg::kFs, false);
    case ZYDIS_MNEMONIC_RDGSBASE:
      return segment_base_register(x86::Seg::kGs, false);
    case ZYDIS_MNEMONIC_WRFSBASE:
      return segment_base_register(x86::Seg::kFs, true);
    default:
      return segment_base_register(x86::Seg::kGs, true);
  }
}

// At CPL 0, changing no more than the arithmetic flags, DF, ID and IF, the latter to 1 only with nothing
// pending: then whatever comes finds IF as it is now.
void Emitter::pop_flags() {
  constexpr u64 kTaken = kArithmetic | kDf | kIf | kId;
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel(), quiet = as_.newLabel();
  as_.mov(kT0, stack_operand(kGuestRsp, 0, false));
  end_access_of_jump();
  require_ring0(otherwise);
  as_.mov(kT1, d_.at(kRflags, 8));
  as_.mov(kT2.r32(), kT1.r32());
  as_.xor_(kT2.r32(), kT0.r32());
  as_.test(kT2.r32(), static_cast<u32>(kTf | kIopl | kNt | kAc));
  as_.jnz(otherwise);
  as_.test(kT0.r32(), static_cast<u32>(kIf));
  as_.jz(quiet);
  as_.mov(kT2, field(offsetof(Context, hazards), 8));
  as_.cmp(a::dword_ptr(kT2), 0);
  as_.jne(otherwise);
  as_.bind(quiet);
  as_.mov(kT2.r32(), kT0.r32());
  as_.and_(kT2.r32(), static_cast<u32>(kTaken));
  as_.and_(kT1, static_cast<i32>(~kTaken));
  as_.or_(kT1, kT2);
  as_.mov(d_.at(kRflags, 8), kT1);
  emit_packed_of_flags(as_, kT0, kT1);
  move_stack_pointer(8);
  host_ = 0;
  packed_ = kArithmetic;
  as_.bind(done);
  call_out_at(otherwise, done);
}

void Emitter::require_canonical(const a::Gp& value, const a::Gp& spare, const asmjit::Label& otherwise) {
  as_.mov(spare, value);
  as_.shl(spare, 16);
  as_.sar(spare, 16);
  as_.cmp(spare, value);
  as_.jne(otherwise);
}

// What the flag says is that of another way for accesses; where that is not known, the handler asks the MMU.
void Emitter::access_flag(bool set) {
  const u32 shift = set ? rights::kSupervisor : rights::kSupervisorSmap;
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel();
  require_ring0(otherwise);
  as_.test(d_.at(kCr4, 4), static_cast<i32>(x86::cr4::kSmap));
  as_.jz(otherwise);
  emit_require_way(as_, shift, otherwise);
  set ? as_.or_(d_.at(kRflags, 4), static_cast<i32>(kAc))
      : as_.and_(d_.at(kRflags, 4), static_cast<i32>(~kAc));
  emit_take_way(as_, shift);
  host_ = 0;
  as_.bind(done);
  call_out_at(otherwise, done);
}

// Neither routine comes back, nor does the handler that it leaves the unusual to.
void Emitter::system_call() {
  const bool enters = insn_->info.mnemonic == ZYDIS_MNEMONIC_SYSCALL;
  site_to_scratch(make_site(0, false));
  as_.call(field(enters ? offsetof(Context, system_call) : offsetof(Context, system_return), 8));
  as_.ud2();
}

// RDFSBASE and the like: at any privilege, if CR4 lets them.
void Emitter::segment_base_register(x86::Seg seg, bool write) {
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel();
  const ZydisDecodedOperand& o = insn_->operands[0];
  const unsigned n = x86::general_register_number(o.reg.value);
  const bool in_host = kHostOf[n] != kInMemory, whole = o.size == 64;
  const a::Gp value = in_host ? a::gpq(static_cast<u32>(kHostOf[n])) : kT0;
  const a::Mem base = d_.segment_base(seg);
  as_.test(d_.at(kCr4, 4), static_cast<i32>(x86::cr4::kFsgsbase));
  as_.jz(otherwise);
  if (!write) {
    whole ? as_.mov(value, base) : as_.mov(value.r32(), base.cloneResized(4));
    if (!in_host) as_.mov(d_.gpr(n), value);
  } else if (whole) {
    if (!in_host) as_.mov(value, d_.gpr(n));
    require_canonical(value, kT1, otherwise);
    as_.mov(base, value);
  } else {
    in_host ? as_.mov(kT0.r32(), value.r32()) : as_.mov(kT0.r32(), d_.gpr(n).cloneResized(4));
    as_.mov(base, kT0);
  }
  host_ = 0;
  as_.bind(done);
  call_out_at(otherwise, done);
}

// RDMSR and WRMSR of the bases of FS and GS, and the one that SWAPGS brings.
void Emitter::base_msr(bool write) {
  static_assert(x86::msr::kGsBase == x86::msr::kFsBase + 1 &&
                x86::msr::kKernelGsBase == x86::msr::kFsBase + 2);
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel(), have = as_.newLabel(),
                      gs = as_.newLabel(), kernel_gs = as_.newLabel();
  require_ring0(otherwise);
  if (write) {
    as_.mov(kT1.r32(), kGuestRax.r32());
    as_.mov(kT2, a::rdx);
    as_.shl(kT2, 32);
    as_.or_(kT1, kT2);
    require_canonical(kT1, kT2, otherwise);
    // WRMSR serializes (SDM vol. 3A §9.3): what pends may be that code behind it has been changed.
    as_.mov(kT2, field(offsetof(Context, hazards), 8));
    as_.cmp(a::dword_ptr(kT2), 0);
    as_.jne(otherwise);
  }
  as_.lea(kT0.r32(), a::ptr(a::rcx, -static_cast<i32>(x86::msr::kFsBase)));
  const auto transfer = [&](const a::Mem& base) { write ? as_.mov(base, kT1) : as_.mov(kT1, base); };
  as_.cmp(kT0.r32(), 1);
  as_.je(gs);
  as_.ja(kernel_gs);
  transfer(d_.segment_base(x86::Seg::kFs));
  as_.jmp(have);
  as_.bind(gs);
  transfer(d_.segment_base(x86::Seg::kGs));
  as_.jmp(have);
  as_.bind(kernel_gs);
  as_.cmp(kT0.r32(), 2);
  as_.jne(otherwise);
  transfer(d_.at(static_cast<u16>(offsetof(VcpuState, msr) + offsetof(MsrState, kernel_gs_base)), 8));
  as_.bind(have);
  if (!write) {
    as_.mov(kGuestRax.r32(), kT1.r32());
    as_.mov(a::rdx, kT1);
    as_.shr(a::rdx, 32);
  }
  host_ = 0;
  as_.bind(done);
  call_out_at(otherwise, done);
}

}  // namespace vellum::bt
