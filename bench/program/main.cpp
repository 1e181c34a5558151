// The program that bench/compare runs natively and in guests.
//
//   bench-program --list                                     a line for each benchmark: name, group,
//   operations ... bench-program [--serial] [--idle MS] [--min-ms N] NAME...
//
// Its lines, which bench/compare stamps with the host's time as they arrive:
//   #idle NAME             nothing is done until "#busy", for the given time
//   #begin NAME            one round was run to warm up; the measured rounds begin
//   #end NAME ROUNDS CHECKSUM WALL_NS CPU_NS      as this system's clocks see it
//   #absent NAME           this processor lacks the instructions
//   #! TEXT                a check failed
//   #done
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "benchmark.hpp"
#include "report.hpp"

namespace bench {
namespace {

std::vector<Benchmark> all_benchmarks() {
  std::vector<Benchmark> all;
  for (const auto part : {integer_benchmarks(), branch_benchmarks(), scalar_benchmarks(), vector_benchmarks(),
                          block_benchmarks(), memory_benchmarks(), process_benchmarks(), thread_benchmarks()})
    all.insert(all.end(), part.begin(), part.end());
  return all;
}

u64 now(clockid_t clock) {
  timespec at{};
  ::clock_gettime(clock, &at);
  return static_cast<u64>(at.tv_sec) * 1'000'000'000 + static_cast<u64>(at.tv_nsec);
}

// Of this process and of the children it waited for.
u64 processor_time() {
  rusage children{};
  ::getrusage(RUSAGE_CHILDREN, &children);
  const auto ns = [](const timeval& t) {
    return static_cast<u64>(t.tv_sec) * 1'000'000'000 + static_cast<u64>(t.tv_usec) * 1000;
  };
  return now(CLOCK_PROCESS_CPUTIME_ID) + ns(children.ru_utime) + ns(children.ru_stime);
}

void measure(const Benchmark& benchmark, u64 min_ns) {
  const std::string name = benchmark.name;
  if (benchmark.present != nullptr && !benchmark.present()) return Report::line("#absent " + name);
  const u64 checksum = benchmark.round();
  Report::line("#begin " + name);
  const u64 wall = now(CLOCK_MONOTONIC), cpu = processor_time();
  u64 rounds = 0, passed = 0;
  // More rounds than this only a broken clock asks for.
  constexpr u64 kMostRounds = 100'000;
  do {
    if (benchmark.round() != checksum) fail((name + ": two rounds with different results").c_str());
    ++rounds;
    passed = now(CLOCK_MONOTONIC) - wall;
  } while (passed < min_ns && rounds < kMostRounds);
  const u64 used = processor_time() - cpu;
  char numbers[120];
  std::snprintf(numbers, sizeof numbers, " %lu %016lx %lu %lu", rounds, checksum, passed, used);
  Report::line("#end " + name + numbers);
}

// In a process of its own: none finds the memory that another one left behind, and a crash takes only one
// with it.
bool measure_apart(const Benchmark& benchmark, u64 min_ns) {
  const pid_t child = ::fork();
  if (child == 0) {
    measure(benchmark, min_ns);
    ::_exit(0);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return false;
  if (status != 0)
    Report::line("#! " + std::string(benchmark.name) + ": ended with status " + std::to_string(status));
  return status == 0;
}

void idle(const std::string& name, unsigned ms) {
  if (ms == 0) return;
  Report::line("#idle " + name);
  ::usleep(ms * 1000);
  Report::line("#busy " + name);
}

int list() {
  for (const Benchmark& b : all_benchmarks())
    std::printf("%s\t%s\t%lu\t%s\t%s\n", b.name, b.group, b.operations, b.operation, b.what);
  return 0;
}

int run(int argc, char** argv) {
  const auto all = all_benchmarks();
  std::vector<Benchmark> chosen;
  bool serial = false;
  unsigned idle_ms = 0;
  u64 min_ns = 300'000'000;
  for (int n = 1; n < argc; ++n) {
    const std::string word = argv[n];
    if (word == "--serial") {
      serial = true;
    } else if (word == "--idle" && n + 1 < argc) {
      idle_ms = static_cast<unsigned>(std::stoul(argv[++n]));
    } else if (word == "--min-ms" && n + 1 < argc) {
      min_ns = std::stoull(argv[++n]) * 1'000'000;
    } else {
      for (const Benchmark& b : all)
        if (word == b.name) chosen.push_back(b);
    }
  }
  if (!Report::open(serial)) return std::perror("bench-program: ioperm"), 2;
  idle("booted", idle_ms);
  bool good = true;
  for (const Benchmark& b : chosen) good = measure_apart(b, min_ns) && good;
  idle("measured", idle_ms);
  Report::line("#done");
  return good ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--exit") == 0) return 42;
  if (argc == 2 && std::strcmp(argv[1], "--list") == 0) return bench::list();
  return bench::run(argc, argv);
}
