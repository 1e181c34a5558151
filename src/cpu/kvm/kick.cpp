#include "cpu/kvm/kick.hpp"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace vellum::kvm {
namespace {

pid_t thread_id() {
  return static_cast<pid_t>(::syscall(SYS_gettid));
}

void do_nothing(int) {}

}  // namespace

int kick_signal() {
  static const int number = [] {
    struct sigaction action {};
    action.sa_handler = do_nothing;
    action.sa_flags = SA_RESTART | SA_ONSTACK;  // KVM_RUN returns EINTR all the same
    ::sigemptyset(&action.sa_mask);
    ::sigaction(SIGRTMIN, &action, nullptr);
    return SIGRTMIN;
  }();
  return number;
}

void VcpuKicker::enter(bool briefly) {
  static thread_local const pid_t self = thread_id();  // a system call, made once for each thread
  // SAFETY: shared with the kernel and other threads, as the interface has it: a byte, written atomically.
  __atomic_store_n(&run_.immediate_exit, briefly ? 1 : 0, __ATOMIC_RELAXED);
  thread_.store(self, std::memory_order_relaxed);
  in_guest_.store(true, std::memory_order_seq_cst);
}

void VcpuKicker::kick() {
  if (!in_guest_.load(std::memory_order_seq_cst)) return;
  // SAFETY: as in enter().
  __atomic_store_n(&run_.immediate_exit, 1, __ATOMIC_SEQ_CST);
  // A thread that ended in the meantime left the guest before: the signal then goes nowhere.
  ::syscall(SYS_tgkill, ::getpid(), thread_.load(std::memory_order_relaxed), kick_signal());
}

KickTimer::KickTimer(u64 first_ns) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = kick_signal();
  event._sigev_un._tid = thread_id();
  created_ = ::timer_create(CLOCK_MONOTONIC, &event, &timer_) == 0;
  if (!created_) return;
  constexpr long kRepeatNs = 500'000;
  const timespec first{static_cast<time_t>(first_ns / 1'000'000'000),
                       static_cast<long>(first_ns % 1'000'000'000)};
  const itimerspec when{{0, kRepeatNs}, first};
  armed_ = ::timer_settime(timer_, 0, &when, nullptr) == 0;
}

KickTimer::~KickTimer() {
  if (created_) ::timer_delete(timer_);
}

}  // namespace vellum::kvm
