#include "native_runner.hpp"

#include <fmt/format.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <sstream>

#include "x86/exception.hpp"

namespace vellum::differential {
namespace {

Case nop() {
  Case c;
  c.code[0] = 0x90;
  c.length = 1;
  c.in.rip = kCode;
  c.in.gpr[x86::kRsp] = kReadWrite + 1024;
  c.in.fp.fcw() = 0x37f;
  c.in.fp.mxcsr() = 0x1f80;
  return c;
}

// Within the ranges' union.
bool is_covered(Range range, std::span<const Range> by) {
  while (range.begin < range.end) {
    const auto next =
        std::find_if(by.begin(), by.end(), [&](const Range& r) { return r.contains(range.begin); });
    if (next == by.end()) return false;
    range.begin = next->end;
  }
  return true;
}

struct NamedRange : Range {
  std::string line;
  bool is_kernels() const {
    return line.find("[vsyscall]") != line.npos || line.find("[vdso]") != line.npos ||
           line.find("[vvar") != line.npos;
  }
};

Result<std::vector<NamedRange>> read_memory_map(int pid) {
  std::ifstream file(fmt::format("/proc/{}/maps", pid));
  std::vector<NamedRange> ranges;
  for (std::string line; std::getline(file, line);) {
    NamedRange range;
    char dash = 0;
    std::istringstream(line) >> std::hex >> range.begin >> dash >> range.end;
    range.line = line;
    ranges.push_back(range);
  }
  if (ranges.empty()) return fail(ErrorCode::kHost, "cannot read the native child's memory map");
  return ranges;
}

}  // namespace

Result<std::unique_ptr<NativeRunner>> NativeRunner::create() {
  auto runner = std::unique_ptr<NativeRunner>(new NativeRunner);
  VELLUM_TRY_ASSIGN(mapping,
                    Mapping::create(kSharedBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS));
  runner->mapping_ = std::move(mapping);
  runner->shared_ = new (runner->mapping_.data()) Shared;
  runner->shared_->turn.store(0);
  runner->child_ = ::fork();
  if (runner->child_ < 0) return fail_errno("cannot start the native child", errno);
  if (runner->child_ == 0) live_as_child(runner->shared_);
  VELLUM_TRY(runner->examine_memory());
  return runner;
}

Result<> NativeRunner::examine_memory() {
  const Case c = nop();
  Outcome outcome;
  VELLUM_TRY(run({&c, 1}, {&outcome, 1}));
  if (outcome.vector != kNoFault)
    return fail(ErrorCode::kHost, "not even a NOP runs in the native child: vector {}", outcome.vector);
  own_ = {kRigMemory, program_memory()};
  const Range expected[] = {kCodeMemory, kDataMemory, kRigMemory, program_memory()};
  VELLUM_TRY_ASSIGN(ranges, read_memory_map(child_));
  for (const NamedRange& range : ranges) {
    if (is_covered(range, expected)) continue;
    if (!range.is_kernels())
      return fail(ErrorCode::kHost, "the native child has memory that no case may meet: {}", range.line);
    own_.push_back(range);
  }
  return {};
}

bool NativeRunner::is_own_memory(u64 address) const {
  return std::any_of(own_.begin(), own_.end(), [&](const Range& range) { return range.contains(address); });
}

NativeRunner::~NativeRunner() {
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
}

Result<HostLimits> NativeRunner::probe() {
  Case cases[2]{nop(), nop()};
  cases[0].compat = true;
  cases[1].in.gpr[x86::kRsp] = u64{1} << 62;
  Outcome outcomes[2];
  VELLUM_TRY(run(cases, outcomes));
  return HostLimits{outcomes[0].vector != kNoFault, outcomes[1].vector != kNoFault};
}

double NativeRunner::seconds() const {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(child_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

Result<> NativeRunner::run(std::span<const Case> cases, std::span<Outcome> outcomes) {
  std::copy(cases.begin(), cases.end(), shared_->cases);
  shared_->count = static_cast<u32>(cases.size());
  shared_->turn.store(1, std::memory_order_release);
  ::syscall(SYS_futex, &shared_->turn, FUTEX_WAKE, 1);
  while (shared_->turn.load(std::memory_order_acquire) != 0) {
    const timespec patience{0, 200'000'000};
    ::syscall(SYS_futex, &shared_->turn, FUTEX_WAIT, 1, &patience);
    int status = 0;
    if (::waitpid(child_, &status, WNOHANG) == child_) {
      child_ = -1;
      return fail(ErrorCode::kHost, "the native child ended (wait status {:#x}): {}", status,
                  text_of_child_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 0));
    }
  }
  std::copy_n(shared_->outcomes, cases.size(), outcomes.begin());
  return {};
}

}  // namespace vellum::differential
