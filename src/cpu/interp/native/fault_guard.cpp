#include "cpu/interp/native/fault_guard.hpp"

#include <ucontext.h>
#include <csignal>

#include <atomic>
#include <cerrno>

#include "base/assert.hpp"
#include "cpu/interp/native/mxcsr.hpp"

namespace vellum::interp::native {
namespace {

// What the SIGFPE handler must find. Thread-local: a synchronous signal is delivered to the thread that
// caused it, and only that thread reads or writes its record.
struct GuardRecord {
  volatile u64 thunk = 0;  ///< address of the thunk that runs, 0 outside
  volatile bool trapped = false;
};
constinit thread_local GuardRecord guard;

constexpr u64 kMaxThunkBytes = 1024;

// The way out of a thunk whose instruction trapped: the stack pointer is as on entry.
[[gnu::naked]] void leave_thunk() {
  asm("ret");
}

struct PreviousAction {
  struct sigaction action {};
};

const PreviousAction& previous();

void on_sigfpe(int signal, siginfo_t* info, void* context) {
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  const u64 pc = static_cast<u64>(registers[REG_RIP]);
  if (guard.thunk != 0 && pc - guard.thunk < kMaxThunkBytes) {
    guard.trapped = true;
    registers[REG_RIP] = reinterpret_cast<greg_t>(&leave_thunk);
    return;
  }
  // Not ours: whoever was there before decides; by default the instruction runs again and ends the process.
  const struct sigaction& before = previous().action;
  if ((before.sa_flags & SA_SIGINFO) != 0) {
    before.sa_sigaction(signal, info, context);
  } else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
    ::signal(signal, SIG_DFL);
  } else {
    before.sa_handler(signal);
  }
}

// Installs the handler once a process; afterwards constant.
const PreviousAction& previous() {
  static const PreviousAction saved = [] {
    PreviousAction p;
    const int status = ::sigaction(SIGFPE, nullptr, &p.action);
    VELLUM_ASSERT(status == 0, "sigaction: {}", errno);
    return p;
  }();
  return saved;
}

void install_once() {
  static const bool installed = [] {
    previous();
    struct sigaction action {};
    action.sa_sigaction = on_sigfpe;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    return ::sigaction(SIGFPE, &action, nullptr) == 0;
  }();
  VELLUM_ASSERT(installed, "cannot handle SIGFPE: {}", errno);
}

// A blocked synchronous signal would end the process: whoever masks signals on a vCPU's thread leaves this
// one out.
void unblock_on_this_thread() {
  static thread_local const bool unblocked = [] {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGFPE);
    return ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr) == 0;
  }();
  VELLUM_ASSERT(unblocked, "cannot unblock SIGFPE");
}

}  // namespace

bool run_guarded(Thunk thunk, VcpuState& state, void* memory, u32& mxcsr) {
  install_once();
  unblock_on_this_thread();
  guard.trapped = false;
  guard.thunk = reinterpret_cast<u64>(thunk);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  host_mxcsr(mxcsr);
  thunk(&state, memory);
  mxcsr = host_mxcsr();
  host_mxcsr(kMxcsrDefault);
  std::atomic_signal_fence(std::memory_order_seq_cst);
  guard.thunk = 0;
  if (!guard.trapped) return true;
  // The thunk's own clean-up did not run: upper halves of YMM registers, an x87 state that is the guest's.
  if (__builtin_cpu_supports("avx")) asm volatile("vzeroupper" : : : "memory");
  asm volatile("fninit" : : : "memory");
  return false;
}

}  // namespace vellum::interp::native
