#include "cli/host_probes.hpp"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/membarrier.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/fd.hpp"
#include "cpu/bt/options.hpp"
#include "cpu/kvm/self_test.hpp"
#include "x86/cpu_model.hpp"

namespace vellum::cli {
namespace {

using State = Finding::State;

std::string read_line(const char* path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// The word in brackets of a line as "always [madvise] never".
std::string chosen(const std::string& line) {
  const auto open = line.find('[');
  const auto close = line.find(']', open);
  return open == std::string::npos || close == std::string::npos ? ""
                                                                 : line.substr(open + 1, close - open - 1);
}

Finding probe_processor() {
  const x86::HostCpu host = x86::HostCpu::detect();
  auto model = x86::CpuModel::create("auto");
  if (!model) return {"processor", State::kFatal, host.brand, model.error().message};
  return {"processor", State::kGood, fmt::format("{}; guests get the model {}", host.brand, model->name()),
          ""};
}

Finding probe_features() {
  const x86::HostCpu host = x86::HostCpu::detect();
  std::string has, lacks;
  const auto look = [&](x86::Feature f) {
    (host.features.test(x86::feature_index(f)) ? has : lacks) += fmt::format("{} ", x86::feature_row(f).name);
  };
  look(x86::Feature::kAvx2);
  look(x86::Feature::kBmi2);
  if (!has.empty()) has.pop_back();
  if (lacks.empty()) return {"cpu features", State::kGood, has, ""};
  lacks.pop_back();
  return {
      "cpu features", State::kLacking, fmt::format("has {}; lacks {}", has.empty() ? "none" : has, lacks),
      "nothing to be done on this processor: guests get a lesser CPU model, and translated code is slower"};
}

Finding probe_kvm(unsigned patience) {
  const auto result = kvm::run_self_test(kvm::host_api(), kvm::Patience::times(patience));
  if (!result)
    return {"engine kvm", State::kLacking, "no /dev/kvm",
            "on hardware, load kvm_intel or kvm_amd; in a cloud machine, ask for nested virtualization; bt "
            "needs neither"};
  const auto took = fmt::format("self-test of {} ms", (result->ns + 999'999) / 1'000'000);
  if (result->passed) return {"engine kvm", State::kGood, took + " passed", ""};
  return {"engine kvm", State::kLacking, fmt::format("{} failed: {}", took, result->reason),
          "--engine auto takes bt"};
}

Finding probe_translator() {
  if (!bt::host_can_translate())
    return {"engine bt", State::kLacking, "the processor has no BMI2",
            "translated code uses it; --engine interp needs nothing"};
  auto code = Mapping::create(4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS);
  if (!code)
    return {"engine bt", State::kLacking, code.error().message,
            "this system forbids executable memory of a program's own; --engine interp needs none"};
  return {"engine bt", State::kGood, "executable memory can be mapped", ""};
}

Finding probe_memfd() {
  const FileDescriptor fd(::memfd_create("vellum-doctor", MFD_CLOEXEC));
  if (!fd || ::ftruncate(fd.get(), 4096) != 0)
    return {"memfd", State::kFatal, std::strerror(errno),
            "guest RAM is one: a kernel of 3.17 or later, and no filter against memfd_create"};
  return {"memfd", State::kGood, "guest RAM can be shared with other processes", ""};
}

Finding probe_huge_pages() {
  const std::string shmem = chosen(read_line("/sys/kernel/mm/transparent_hugepage/shmem_enabled"));
  if (shmem == "advise" || shmem == "always" || shmem == "within_size" || shmem == "force")
    return {"huge pages", State::kGood, fmt::format("for shared memory: {}", shmem), ""};
  return {"huge pages", State::kLacking,
          fmt::format("for shared memory: {}", shmem.empty() ? "none in this kernel" : shmem),
          "as root: echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled; guest RAM is of 4 KiB "
          "pages otherwise"};
}

Finding probe_io_uring() {
  io_uring_params parameters{};
  const FileDescriptor ring(static_cast<int>(::syscall(SYS_io_uring_setup, 1, &parameters)));
  if (ring) return {"io_uring", State::kGood, "available", ""};
  return {"io_uring", State::kLacking, std::strerror(errno),
          errno == EPERM
              ? "as root: sysctl kernel.io_uring_disabled=0; in a container, a seccomp profile that allows it"
              : "a kernel of 5.1 or later that has it"};
}

Finding probe_tap() {
  const FileDescriptor tun(::open("/dev/net/tun", O_RDWR | O_CLOEXEC));
  if (tun) return {"tap", State::kGood, "/dev/net/tun opens", ""};
  return {"tap", State::kLacking, fmt::format("/dev/net/tun: {}", std::strerror(errno)),
          errno == ENOENT ? "modprobe tun; in a container: --device /dev/net/tun"
                          : "run as root, or have a tap device made for your user"};
}

Finding probe_map_count() {
  constexpr long kEnough = 65530;
  const std::string text = read_line("/proc/sys/vm/max_map_count");
  const long count = std::atol(text.c_str());
  if (count >= kEnough) return {"vm.max_map_count", State::kGood, text, ""};
  return {"vm.max_map_count", State::kLacking, text.empty() ? "unknown" : text,
          fmt::format("as root: sysctl vm.max_map_count={}; pages with translated code are mapped one by one",
                      kEnough)};
}

Finding probe_membarrier() {
  const long commands = ::syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
  if (commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0)
    return {"membarrier", State::kGood, "expedited", ""};
  return {"membarrier", State::kLacking, commands < 0 ? std::strerror(errno) : "slow form only",
          "translating code waits longer for the other vCPUs; a kernel of 4.14 or later has the fast form"};
}

Finding probe_userfaultfd() {
  constexpr int kUserModeOnly = 1;
  const FileDescriptor fd(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | kUserModeOnly)));
  if (fd) return {"userfaultfd", State::kGood, "available", ""};
  return {"userfaultfd", State::kLacking, std::strerror(errno),
          "as root: sysctl vm.unprivileged_userfaultfd=1"};
}

Finding probe_memory_limit() {
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    const std::string text = read_line(path);
    if (text.empty() || text == "max") continue;
    const u64 limit = std::strtoull(text.c_str(), nullptr, 10);
    constexpr u64 kNone = u64{1} << 60;  // cgroup v1 says "no limit" as a large number
    if (limit >= kNone) continue;
    constexpr u64 kLittle = u64{512} << 20;
    return {
        "memory limit", limit < kLittle ? State::kLacking : State::kGood,
        fmt::format("{} MiB in this control group", limit >> 20),
        limit < kLittle
            ? "a guest of the usual 512 MiB is killed: give the container more, or choose a smaller --memory"
            : ""};
  }
  return {"memory limit", State::kGood, "none in this control group", ""};
}

}  // namespace

std::vector<Finding> examine_host(unsigned kvm_patience) {
  return {probe_processor(),
          probe_features(),
          Finding{"engine interp", State::kGood, "needs nothing", ""},
          probe_translator(),
          probe_kvm(kvm_patience),
          probe_memfd(),
          probe_huge_pages(),
          probe_map_count(),
          probe_membarrier(),
          probe_userfaultfd(),
          probe_io_uring(),
          probe_tap(),
          probe_memory_limit()};
}

}  // namespace vellum::cli
