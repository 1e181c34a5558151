#include "cpu/bt/host_faults.hpp"

#include <pthread.h>

#include <atomic>
#include <cerrno>
#include <csignal>

#include "base/assert.hpp"

namespace vellum::bt {
namespace {

// Thread-local: a synchronous signal is delivered to the thread that caused it. Written by that thread only.
constinit thread_local HostFaultTaker* volatile taker_of_thread = nullptr;

struct PreviousActions {
  struct sigaction segv {
  }, bus{};
};

const PreviousActions& install_once();

void on_fault(int signal, siginfo_t*, void* context) {
  HostFaultTaker* const taker = taker_of_thread;
  auto& registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (taker != nullptr && taker->take_host_fault(registers)) return;
  // Not ours: whoever was there before gets it, when the instruction runs again.
  const PreviousActions& before = install_once();
  ::sigaction(signal, signal == SIGSEGV ? &before.segv : &before.bus, nullptr);
}

const PreviousActions& install_once() {
  static const PreviousActions previous = [] {
    PreviousActions p;
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    // SA_NODEFER: the fault of a handler itself must end the process, not hang it.
    action.sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK;
    ::sigemptyset(&action.sa_mask);
    const bool done =
        ::sigaction(SIGSEGV, &action, &p.segv) == 0 && ::sigaction(SIGBUS, &action, &p.bus) == 0;
    VELLUM_ASSERT(done, "cannot handle faults: errno {}", errno);
    return p;
  }();
  return previous;
}

// A blocked synchronous signal ends the process.
void unblock_on_this_thread() {
  static thread_local const bool unblocked = [] {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGSEGV);
    ::sigaddset(&set, SIGBUS);
    return ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr) == 0;
  }();
  VELLUM_ASSERT(unblocked, "cannot unblock SIGSEGV");
}

}  // namespace

HostFaultScope::HostFaultScope(HostFaultTaker& taker) : outer_(taker_of_thread) {
  install_once();
  unblock_on_this_thread();
  taker_of_thread = &taker;
}

HostFaultScope::~HostFaultScope() {
  taker_of_thread = outer_;
}

}  // namespace vellum::bt
