// Processes: fork, exec, wait, pipes, copy-on-write across fork, vfork, signals between processes, a
// pipeline.
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vector>

#include "report.hpp"

namespace workload {
namespace {

std::uint64_t exit_status(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? static_cast<std::uint64_t>(WEXITSTATUS(status))
                           : 0x100u + static_cast<std::uint64_t>(WTERMSIG(status));
}

std::uint64_t forks() {
  std::uint64_t hash = 0;
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) _exit(i * 3 % 256);
    hash = hash * 31 + exit_status(child);
  }
  return hash;
}

std::uint64_t execs(const char* self) {
  std::uint64_t hash = 0;
  for (const char* status : {"7", "42", "255"}) {
    char* const arguments[] = {const_cast<char*>(self), const_cast<char*>("child"), const_cast<char*>(status),
                               nullptr};
    char* const environment[] = {nullptr};
    pid_t child = 0;
    if (posix_spawn(&child, "/proc/self/exe", nullptr, nullptr, arguments, environment) != 0) return 0;
    hash = hash * 31 + exit_status(child);
  }
  return hash;
}

/// Parent and child write to the same page after fork: each must see only its own.
std::uint64_t copy_on_write() {
  std::vector<std::uint64_t> private_page(8192, 1);
  auto* shared = static_cast<std::uint64_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t child = fork();
  if (child == 0) {
    for (auto& v : private_page) v += 5;
    shared[0] = digest(private_page.data(), private_page.size() * 8);
    _exit(0);
  }
  for (auto& v : private_page) v += 9;
  exit_status(child);
  return shared[0] * 31 + digest(private_page.data(), private_page.size() * 8);
}

std::uint64_t pipeline() {
  constexpr int kStages = 5;
  int in = -1;
  int first[2];
  if (pipe(first) != 0) return 0;
  in = first[0];
  std::vector<pid_t> children;
  for (int stage = 0; stage < kStages; ++stage) {
    int next[2];
    if (pipe(next) != 0) return 0;
    const pid_t child = fork();
    if (child == 0) {
      close(first[1]);
      close(next[0]);
      std::uint64_t v = 0;
      while (read(in, &v, sizeof v) == sizeof v) {
        v = v * 3 + static_cast<std::uint64_t>(stage);
        if (write(next[1], &v, sizeof v) != sizeof v) _exit(1);
      }
      _exit(0);
    }
    children.push_back(child);
    close(in);
    close(next[1]);
    in = next[0];
  }
  for (std::uint64_t v = 0; v < 200; ++v) {
    if (write(first[1], &v, sizeof v) != sizeof v) return 0;
  }
  close(first[1]);
  std::uint64_t hash = 0;
  std::uint64_t v = 0;
  while (read(in, &v, sizeof v) == sizeof v) hash = hash * 31 + v;
  close(in);
  for (const pid_t child : children) hash = hash * 31 + exit_status(child);
  return hash;
}

std::uint64_t deaths() {
  std::uint64_t hash = 0;
  for (const int number : {SIGKILL, SIGTERM, SIGSEGV}) {
    const pid_t child = fork();
    if (child == 0) {
      if (number == SIGSEGV) asm volatile("movl $0, 0" ::: "memory");
      for (;;) pause();
    }
    if (number != SIGSEGV) kill(child, number);
    hash = hash * 31 + exit_status(child);
  }
  return hash;
}

std::uint64_t sockets() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) return 0;
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    std::uint64_t v = 0;
    while (read(ends[1], &v, sizeof v) == sizeof v) {
      v = v * v + 1;
      if (write(ends[1], &v, sizeof v) != sizeof v) _exit(1);
    }
    _exit(9);
  }
  close(ends[1]);
  std::uint64_t v = 3;
  for (int i = 0; i < 200; ++i) {
    if (write(ends[0], &v, sizeof v) != sizeof v || read(ends[0], &v, sizeof v) != sizeof v) return 0;
  }
  close(ends[0]);
  return v * 31 + exit_status(child);
}

}  // namespace

int processes(const char* self) {
  report("processes.fork", forks());
  report("processes.exec", execs(self));
  report("processes.copy_on_write", copy_on_write());
  report("processes.pipeline", pipeline());
  report("processes.deaths", deaths());
  report("processes.sockets", sockets());
  return 0;
}

}  // namespace workload
