// Timers that interrupt: setitimer, timer_create, timerfd, alarm, nanosleep with a signal in the middle. Only
// what does not depend on speed is reported.
#include <signal.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

#include "report.hpp"

namespace workload {
namespace {

volatile sig_atomic_t ticks = 0;
volatile sig_atomic_t value = 0;

void tick(int, siginfo_t* info, void*) {
  ticks = ticks + 1;
  if (info->si_code == SI_TIMER) value = info->si_value.sival_int;
}

void handle(int number) {
  struct sigaction action = {};
  action.sa_sigaction = tick;
  action.sa_flags = SA_SIGINFO;
  sigaction(number, &action, nullptr);
}

std::uint64_t now_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

void interval() {
  handle(SIGALRM);
  ticks = 0;
  const itimerval every{{0, 5'000}, {0, 5'000}};
  setitimer(ITIMER_REAL, &every, nullptr);
  // A busy loop: the interrupt must get through to running code.
  while (ticks < 10) asm volatile("pause");
  const itimerval off{};
  setitimer(ITIMER_REAL, &off, nullptr);
  report("timers.setitimer", std::string("10 ticks"));
}

void processor_time() {
  handle(SIGVTALRM);
  ticks = 0;
  const itimerval every{{0, 10'000}, {0, 10'000}};
  setitimer(ITIMER_VIRTUAL, &every, nullptr);
  while (ticks < 3) asm volatile("pause");
  const itimerval off{};
  setitimer(ITIMER_VIRTUAL, &off, nullptr);
  report("timers.virtual", std::string("3 ticks"));
}

void posix_timer() {
  handle(SIGRTMIN);
  ticks = 0;
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  event.sigev_value.sival_int = 77;
  timer_t timer{};
  timer_create(CLOCK_MONOTONIC, &event, &timer);
  const itimerspec once{{0, 0}, {0, 3'000'000}};
  const std::uint64_t start = now_ns();
  timer_settime(timer, 0, &once, nullptr);
  while (ticks == 0) pause();
  const bool early = now_ns() - start < 3'000'000;
  timer_delete(timer);
  report("timers.timer_create", std::to_string(value) + (early ? " early" : " not early"));
}

void descriptor() {
  const int fd = timerfd_create(CLOCK_MONOTONIC, 0);
  const itimerspec every{{0, 2'000'000}, {0, 2'000'000}};
  timerfd_settime(fd, 0, &every, nullptr);
  std::uint64_t total = 0;
  while (total < 5) {
    std::uint64_t expirations = 0;
    if (read(fd, &expirations, sizeof expirations) == sizeof expirations) total += expirations;
  }
  close(fd);
  report("timers.timerfd", std::string("at least 5"));
}

void sleeps() {
  handle(SIGALRM);
  const itimerval once{{0, 0}, {0, 20'000}};
  setitimer(ITIMER_REAL, &once, nullptr);
  const timespec long_time{30, 0};
  timespec rest{};
  const bool interrupted = nanosleep(&long_time, &rest) == -1 && errno == EINTR && rest.tv_sec >= 20;
  report("timers.nanosleep", std::string(interrupted ? "interrupted" : "not interrupted"));
  const std::uint64_t start = now_ns();
  const timespec short_time{0, 5'000'000};
  nanosleep(&short_time, nullptr);
  report("timers.sleep", std::string(now_ns() - start >= 5'000'000 ? "long enough" : "too short"));
}

}  // namespace

int timers() {
  interval();
  processor_time();
  posix_timer();
  descriptor();
  sleeps();
  return 0;
}

}  // namespace workload
