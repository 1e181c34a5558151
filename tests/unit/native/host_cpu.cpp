#include "host_cpu.hpp"

#include <asmjit/x86.h>
#include <gtest/gtest.h>
#include <setjmp.h>
#include <ucontext.h>

#include <csignal>
#include <cstddef>

namespace vellum::test {
namespace {

namespace a = asmjit::x86;

thread_local sigjmp_buf escape;
thread_local volatile u32 trapped_mxcsr;
thread_local volatile bool armed;

void on_signal(int signal, siginfo_t*, void* context) {
  if (!armed) {
    ::signal(signal, SIG_DFL);
    return;
  }
  trapped_mxcsr = static_cast<ucontext_t*>(context)->uc_mcontext.fpregs->mxcsr;
  siglongjmp(escape, signal);
}

// Installed before the first thunk's own handler, which passes on what is not a thunk's.
const bool installed = [] {
  struct sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  ::sigaction(SIGFPE, &action, nullptr);
  ::sigaction(SIGSEGV, &action, nullptr);
  return true;
}();

class FailOnError final : public asmjit::ErrorHandler {
 public:
  void handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) override {
    ADD_FAILURE() << message;
  }
};

using Runner = void (*)(HostState*);

a::Mem at(std::size_t offset) {
  return a::qword_ptr(a::rdi, static_cast<int>(offset));
}

Runner assemble(asmjit::JitRuntime& runtime, std::span<const u8> bytes) {
  asmjit::CodeHolder code;
  FailOnError on_error;
  code.init(runtime.environment());
  code.setErrorHandler(&on_error);
  a::Assembler as(&code);
  constexpr unsigned kRdi = 7, kRsp = 4;
  for (const auto& r : {a::rbx, a::rbp, a::r12, a::r13, a::r14, a::r15, a::rdi}) as.push(r);
  as.push(at(offsetof(HostState, rflags)));
  as.popfq();
  as.fxrstor64(a::ptr(a::rdi, offsetof(HostState, fx)));
  for (unsigned n = 0; n < 16; ++n)
    as.vmovups(a::ymm(n), a::ptr(a::rdi, static_cast<int>(offsetof(HostState, ymm) + 32 * n)));
  for (unsigned n = 0; n < 16; ++n)
    if (n != kRdi && n != kRsp) as.mov(a::gpq(n), at(offsetof(HostState, gpr) + 8 * n));
  as.mov(a::rdi, at(offsetof(HostState, gpr) + 8 * kRdi));
  as.embed(bytes.data(), bytes.size());
  as.xchg(a::rdi, a::qword_ptr(a::rsp));
  for (unsigned n = 0; n < 16; ++n)
    if (n != kRdi && n != kRsp) as.mov(at(offsetof(HostState, gpr) + 8 * n), a::gpq(n));
  as.pop(a::rax);
  as.mov(at(offsetof(HostState, gpr) + 8 * kRdi), a::rax);
  as.pushfq();
  as.pop(at(offsetof(HostState, rflags)));
  for (unsigned n = 0; n < 16; ++n)
    as.vmovups(a::ptr(a::rdi, static_cast<int>(offsetof(HostState, ymm) + 32 * n)), a::ymm(n));
  as.fxsave64(a::ptr(a::rdi, offsetof(HostState, fx)));
  as.fninit();
  as.vzeroupper();
  as.sub(a::rsp, 8);
  as.mov(a::dword_ptr(a::rsp), 0x1f80);
  as.ldmxcsr(a::dword_ptr(a::rsp));
  as.add(a::rsp, 8);
  as.cld();
  for (const auto& r : {a::r15, a::r14, a::r13, a::r12, a::rbp, a::rbx}) as.pop(r);
  as.ret();
  Runner runner = nullptr;
  EXPECT_EQ(runtime.add(&runner, &code), asmjit::kErrorOk);
  return runner;
}

}  // namespace

HostOutcome run_on_host(std::span<const u8> bytes, HostState& state) {
  static thread_local asmjit::JitRuntime runtime;
  EXPECT_TRUE(installed);
  const Runner runner = assemble(runtime, bytes);
  const HostState before = state;
  armed = true;
  const int signal = sigsetjmp(escape, 1);
  if (signal == 0) runner(&state);
  armed = false;
  runtime.release(runner);
  if (signal == 0) return HostOutcome::kDone;
  state = before;
  state.mxcsr() = trapped_mxcsr;
  return signal == SIGFPE ? HostOutcome::kFloatException : HostOutcome::kGeneralProtection;
}

}  // namespace vellum::test
