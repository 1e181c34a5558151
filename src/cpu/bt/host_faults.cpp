#include "cpu/bt/host_faults.hpp"

#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>

#include "base/assert.hpp"
#include "base/fd.hpp"

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

// Translated code has a small stack of its own, which may be full. A thread that has an alternate one keeps
// it (the address sanitizer's).
class AlternateStack {
 public:
  AlternateStack() {
    stack_t before{};
    if (::sigaltstack(nullptr, &before) == 0 && (before.ss_flags & SS_DISABLE) == 0) return;
    const auto frame = static_cast<std::size_t>(::sysconf(_SC_MINSIGSTKSZ));
    auto mapping = Mapping::create(frame + kRoom, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    VELLUM_ASSERT(mapping, "no memory for a signal stack: {}", mapping.error().message);
    mapping_ = std::move(*mapping);
    stack_t stack{};
    stack.ss_sp = mapping_.data();
    stack.ss_size = mapping_.size();
    VELLUM_ASSERT(::sigaltstack(&stack, nullptr) == 0, "sigaltstack: errno {}", errno);
  }
  ~AlternateStack() {
    if (mapping_.size() == 0) return;
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    ::sigaltstack(&none, nullptr);
  }
  AlternateStack(const AlternateStack&) = delete;
  AlternateStack& operator=(const AlternateStack&) = delete;

 private:
  static constexpr std::size_t kRoom = 32 << 10;
  Mapping mapping_;
};

void give_this_thread_an_alternate_stack() {
  static thread_local const AlternateStack stack;
}

}  // namespace

HostFaultScope::HostFaultScope(HostFaultTaker& taker) : outer_(taker_of_thread) {
  install_once();
  unblock_on_this_thread();
  give_this_thread_an_alternate_stack();
  taker_of_thread = &taker;
}

HostFaultScope::~HostFaultScope() {
  taker_of_thread = outer_;
}

}  // namespace vellum::bt
