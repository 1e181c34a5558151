// Privileged and sensitive instructions that translated code does by itself where nothing is unusual: at CPL
// 0, with nothing pending. Else the interpreter's handler decides, as it does for all others.
#include "cpu/bt/emitter.hpp"

namespace vellum::bt {

using namespace x86::rflags;

void Emitter::system() {
  switch (insn_->info.mnemonic) {
    case ZYDIS_MNEMONIC_CLI:
      return interrupt_flag(false);
    case ZYDIS_MNEMONIC_STI:
      return interrupt_flag(true);
    case ZYDIS_MNEMONIC_SWAPGS:
      return swap_gs();
    case ZYDIS_MNEMONIC_RDTSC:
      return read_tsc(false);
    case ZYDIS_MNEMONIC_RDTSCP:
      return read_tsc(true);
    case ZYDIS_MNEMONIC_CLD:
      as_.and_(d_.at(kRflags, 4), static_cast<i32>(~kDf));
      host_ = 0;
      return;
    case ZYDIS_MNEMONIC_STD:
      as_.or_(d_.at(kRflags, 4), static_cast<i32>(kDf));
      host_ = 0;
      return;
    case ZYDIS_MNEMONIC_LFENCE:
      as_.lfence();
      return;
    case ZYDIS_MNEMONIC_SFENCE:
      as_.sfence();
      return;
    case ZYDIS_MNEMONIC_MFENCE:
      as_.mfence();
      return;
    default:
      break;
  }
  if (ZydisRegisterGetClass(insn_->operands[1].reg.value) == ZYDIS_REGCLASS_SEGMENT) return read_selector();
  read_control_register();
}

void Emitter::require_ring0(const asmjit::Label& otherwise) {
  as_.cmp(d_.at(offsetof(VcpuState, cpl), 1), 0);
  as_.jne(otherwise);
  host_ = 0;
}

// Cold, from `from`: the handler does the instruction, and translated code goes on behind it.
void Emitter::call_out_at(const asmjit::Label& from, const asmjit::Label& resume) {
  const Site& site = make_site(0, false);
  vectors_ &= vectors_needed(n_ + 1);  // the handler's way loads no more
  cold_.push_back([this, from, resume, &site, first = n_ + 1] {
    as_.bind(from);
    site_to_scratch(site);
    as_.call(field(offsetof(Context, call_out), 8));
    load_vectors_again(resume, site.next_rip, first);
    as_.jmp(resume);
  });
}

// STI that enables interrupts has a shadow of one instruction. Interrupts are taken between units only and
// STI is not its unit's last instruction, so that nothing is to be remembered unless something pends already:
// that is to be taken right after the shadow.
void Emitter::interrupt_flag(bool enable) {
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel();
  require_ring0(otherwise);
  if (enable) {
    as_.mov(kT0, field(offsetof(Context, hazards), 8));
    as_.cmp(a::dword_ptr(kT0), 0);
    as_.jne(otherwise);
    as_.or_(d_.at(kRflags, 4), static_cast<i32>(kIf));
  } else {
    as_.and_(d_.at(kRflags, 4), static_cast<i32>(~kIf));
  }
  as_.bind(done);
  call_out_at(otherwise, done);
}

void Emitter::swap_gs() {
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel();
  require_ring0(otherwise);
  const a::Mem base = d_.segment_base(x86::Seg::kGs);
  const a::Mem kernel_base =
      d_.at(static_cast<u16>(offsetof(VcpuState, msr) + offsetof(MsrState, kernel_gs_base)), 8);
  as_.mov(kT0, base);
  as_.mov(kT1, kernel_base);
  as_.mov(base, kT1);
  as_.mov(kernel_base, kT0);
  as_.bind(done);
  call_out_at(otherwise, done);
}

// At any privilege, unless CR4.TSD asks for CPL 0.
void Emitter::read_tsc(bool with_aux) {
  if (!source_.host_tsc) return call_out();
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel();
  as_.test(d_.at(kCr4, 4), static_cast<i32>(x86::cr4::kTsd));
  as_.jnz(otherwise);
  if (with_aux) as_.lfence();  // RDTSCP waits for all earlier loads (SDM vol. 2B)
  as_.rdtsc();
  as_.shl(a::rdx, 32);
  as_.or_(a::rax, a::rdx);
  as_.sub(a::rax, field(offsetof(Context, host_tsc_lead), 8));
  as_.add(a::rax, d_.at(static_cast<u16>(offsetof(VcpuState, msr) + offsetof(MsrState, tsc_adjust)), 8));
  as_.mov(kGuestRax.r32(), a::eax);
  as_.mov(a::rdx, a::rax);
  as_.shr(a::rdx, 32);
  if (with_aux)
    as_.mov(a::ecx, d_.at(static_cast<u16>(offsetof(VcpuState, msr) + offsetof(MsrState, tsc_aux)), 4));
  host_ = 0;
  as_.bind(done);
  call_out_at(otherwise, done);
}

// A 16-bit destination keeps its other bits, a 32-bit one is zero-extended to all 64 (SDM vol. 2, MOV).
void Emitter::read_selector() {
  const auto seg = static_cast<unsigned>(ZydisRegisterGetId(insn_->operands[1].reg.value));
  const a::Mem selector = d_.selector(static_cast<x86::Seg>(seg));
  const auto n = static_cast<unsigned>(ZydisRegisterGetId(insn_->operands[0].reg.value));
  const bool word = insn_->info.operand_width == 16;
  const a::Gp to = kHostOf[n] != kInMemory ? a::gpq(static_cast<u32>(kHostOf[n])) : kT0;
  if (word && kHostOf[n] != kInMemory)
    as_.mov(to.r16(), selector);
  else
    as_.movzx(to.r32(), selector);
  if (kHostOf[n] == kInMemory) as_.mov(d_.gpr(n, word ? 2 : 8), word ? a::Gp(to.r16()) : to);
}

void Emitter::read_control_register() {
  const asmjit::Label otherwise = as_.newLabel(), done = as_.newLabel();
  require_ring0(otherwise);
  std::size_t from = offsetof(VcpuState, cr0);
  if (insn_->operands[1].reg.value == ZYDIS_REGISTER_CR2) from = offsetof(VcpuState, cr2);
  if (insn_->operands[1].reg.value == ZYDIS_REGISTER_CR3) from = offsetof(VcpuState, cr3);
  if (insn_->operands[1].reg.value == ZYDIS_REGISTER_CR4) from = offsetof(VcpuState, cr4);
  const a::Mem value = d_.at(static_cast<u16>(from), 8);
  const auto n = static_cast<unsigned>(ZydisRegisterGetId(insn_->operands[0].reg.value));
  if (kHostOf[n] != kInMemory) {
    as_.mov(a::gpq(static_cast<u32>(kHostOf[n])), value);
  } else {
    as_.mov(kT0, value);
    as_.mov(d_.gpr(n), kT0);
  }
  as_.bind(done);
  call_out_at(otherwise, done);
}

}  // namespace vellum::bt
