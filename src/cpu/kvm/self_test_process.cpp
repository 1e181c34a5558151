// The self-test in a process of its own: whatever a strange /dev/kvm does to whoever calls it, we go on.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "cpu/kvm/self_test.hpp"

namespace vellum::kvm {
namespace {

u64 now_ns() {
  return static_cast<u64>(std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1));
}

/// What goes through the pipe: less than PIPE_BUF, so all or nothing.
struct Answer {
  u8 passed;
  u64 ns;
  char reason[400];
};

[[noreturn]] void child(KvmApi& api, const Patience& patience, int pipe) {
  const SelfTestResult result = self_test_here(api, patience, now_ns);
  Answer answer{};
  answer.passed = result.passed;
  answer.ns = result.ns;
  std::strncpy(answer.reason, result.reason.c_str(), sizeof answer.reason - 1);
  [[maybe_unused]] const auto n = ::write(pipe, &answer, sizeof answer);
  ::_exit(0);
}

enum class Heard { kAnswer, kNothing, kEnd };

/// Reads the answer by `deadline`.
Heard wait_for(int pipe, u64 deadline, Answer& answer) {
  for (;;) {
    const u64 now = now_ns();
    if (now >= deadline) return Heard::kNothing;
    pollfd wait{pipe, POLLIN, 0};
    const int ready = ::poll(&wait, 1, static_cast<int>((deadline - now) / 1'000'000 + 1));
    if (ready > 0)
      return ::read(pipe, &answer, sizeof answer) == sizeof answer ? Heard::kAnswer : Heard::kEnd;
    if (ready < 0 && errno != EINTR) return Heard::kNothing;
  }
}

}  // namespace

std::optional<SelfTestResult> run_self_test(KvmApi& api, const Patience& patience) {
  if (::access("/dev/kvm", F_OK) != 0 && &api == &host_api()) return std::nullopt;
  const u64 start = now_ns();
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    return SelfTestResult{false, fmt::format("it cannot be tested: {}", std::strerror(errno)), 0};
  const FileDescriptor reading(ends[0]);
  FileDescriptor writing(ends[1]);
  const pid_t pid = ::fork();
  if (pid == 0) child(api, patience, writing.get());
  writing = FileDescriptor();
  if (pid < 0) return SelfTestResult{false, fmt::format("it cannot be tested: {}", std::strerror(errno)), 0};

  Answer answer{};
  const Heard heard = wait_for(reading.get(), start + u64{patience.total_ms} * 1'000'000, answer);
  const u64 took = now_ns() - start;
  ::kill(pid, SIGKILL);
  // A child that hangs in the kernel ends when it can; it is not waited for long.
  constexpr int kNapUs = 500;
  for (int nap = 0; ::waitpid(pid, nullptr, WNOHANG) == 0 && nap < 20; ++nap) ::usleep(kNapUs);
  if (heard == Heard::kEnd) return SelfTestResult{false, "it ended the process that tested it", took};
  if (heard == Heard::kNothing)
    return SelfTestResult{false, fmt::format("it did not answer within {} ms", patience.total_ms), took};
  return SelfTestResult{answer.passed != 0, answer.reason, took};
}

}  // namespace vellum::kvm
