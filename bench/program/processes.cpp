// Processes and what passes between them: fork, exec, a pipe, signals.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "benchmark.hpp"

namespace bench {
namespace {

int end_of(pid_t child) {
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) fail("fork or waitpid");
  return status;
}

constexpr u32 kForks = 30, kExecs = 12;

u64 fork_exit() {
  u64 sum = 0;
  for (u32 n = 0; n < kForks; ++n) {
    const pid_t child = ::fork();
    if (child == 0) ::_exit(static_cast<int>(n));
    sum = mix(sum, static_cast<u64>(end_of(child)));
  }
  return sum;
}

// This program again, which returns 42 when called so (main.cpp).
u64 fork_exec() {
  u64 sum = 0;
  for (u32 n = 0; n < kExecs; ++n) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execl("/proc/self/exe", "bench", "--exit", nullptr);
      ::_exit(1);
    }
    sum = mix(sum, static_cast<u64>(end_of(child)));
  }
  return sum;
}

constexpr u32 kTrips = 2'000;

// A byte goes to a child, which sends it back increased by one.
u64 pipe_trips() {
  int there[2], back[2];
  if (::pipe(there) != 0 || ::pipe(back) != 0) fail("pipe");
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(there[1]), ::close(back[0]);
    u8 byte;
    while (::read(there[0], &byte, 1) == 1)
      if (++byte, ::write(back[1], &byte, 1) != 1) break;
    ::_exit(0);
  }
  ::close(there[0]), ::close(back[1]);
  u8 byte = 0;
  for (u32 n = 0; n < kTrips; ++n)
    if (::write(there[1], &byte, 1) != 1 || ::read(back[0], &byte, 1) != 1) fail("pipe round trip");
  ::close(there[1]), ::close(back[0]);
  return mix(byte, static_cast<u64>(end_of(child)));
}

constexpr u32 kSignals = 5'000;
volatile std::sig_atomic_t taken = 0;

u64 signals() {
  struct sigaction action {};
  action.sa_handler = [](int) { taken = taken + 1; };
  if (::sigaction(SIGUSR1, &action, nullptr) != 0) fail("sigaction");
  taken = 0;
  for (u32 n = 0; n < kSignals; ++n) ::raise(SIGUSR1);
  return static_cast<u64>(taken);
}

constexpr Benchmark kAll[] = {
    {"fork", "process", "fork, exit, wait", "process", kForks, fork_exit},
    {"exec", "process", "fork, exec of a static program, wait", "process", kExecs, fork_exec},
    {"pipe", "pipe", "a byte to another process and back", "round trip", kTrips, pipe_trips},
    {"signal", "kernel", "raise and a handler", "signal", kSignals, signals},
};

}  // namespace

std::span<const Benchmark> process_benchmarks() {
  return kAll;
}

}  // namespace bench
