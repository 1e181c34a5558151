#include "host_steps.hpp"

#include <signal.h>
#include <sys/ucontext.h>

#include "base/assert.hpp"
#include "x86/decode.hpp"

namespace vellum::differential {
namespace {

struct Stepping {
  const StepObserver* observer;
  u64 steps = 0;
};
Stepping* current = nullptr;

void on_trap(int, siginfo_t*, void* frame) {
  const auto* context = static_cast<const ucontext_t*>(frame);
  (*current->observer)(current->steps++, reinterpret_cast<const u8*>(context->uc_mcontext.gregs[REG_RIP]));
}

// A function of its own, as PUSHF and POPF use the stack below RSP.
[[gnu::noinline]] void set_trap_flag(bool on) {
  u64 flags = __builtin_ia32_readeflags_u64();
  flags = on ? flags | 0x100 : flags & ~u64{0x100};
  __builtin_ia32_writeeflags_u64(flags);
}

}  // namespace

u64 run_in_host_steps(const std::function<void()>& f, const StepObserver& observer) {
  Stepping stepping{&observer};
  struct sigaction action {
  }, before{};
  action.sa_sigaction = &on_trap;
  action.sa_flags = SA_SIGINFO;
  VELLUM_ASSERT(current == nullptr && ::sigaction(SIGTRAP, &action, &before) == 0, "stepping already");
  current = &stepping;
  set_trap_flag(true);
  f();
  set_trap_flag(false);
  current = nullptr;
  ::sigaction(SIGTRAP, &before, nullptr);
  return stepping.steps;
}

bool is_full_fence(const u8* instruction) {
  x86::Decoded d;
  if (x86::decode(x86::CodeMode::kLong64, {instruction, x86::kMaxInstructionLength}, d) !=
      x86::DecodeStatus::kOk)
    return false;
  if ((d.info.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0) return true;
  switch (d.info.mnemonic) {
    case ZYDIS_MNEMONIC_MFENCE:
    case ZYDIS_MNEMONIC_CPUID:
      return true;
    case ZYDIS_MNEMONIC_XCHG:
      return d.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY ||
             d.operands[1].type == ZYDIS_OPERAND_TYPE_MEMORY;
    default:
      return false;
  }
}

}  // namespace vellum::differential
