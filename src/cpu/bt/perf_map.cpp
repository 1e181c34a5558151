#include "cpu/bt/perf_map.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/log.hpp"

namespace vellum::bt {

PerfMap::PerfMap(bool on, bool first) {
  if (!on) return;
  // The name is perf's and anyone may write to /tmp: what stands there already is removed, never followed.
  const std::string path = fmt::format("/tmp/perf-{}.map", ::getpid());
  if (first) ::unlink(path.c_str());
  const int how = O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC | (first ? O_CREAT | O_EXCL : 0);
  auto file = FileDescriptor::open(path, how, 0600);
  if (file)
    file_ = std::move(*file);
  else
    spdlog::warn("no perf map: {}", file.error().message);
}

void PerfMap::add(const u8* code, std::size_t bytes, std::string_view name) {
  if (!on()) return;
  const std::string line = fmt::format("{:x} {:x} {}\n", reinterpret_cast<u64>(code), bytes, name);
  // One call a line: several vCPUs append. A full disk costs perf names, and nothing else.
  if (::write(file_.get(), line.data(), line.size()) < 0) file_ = {};
}

}  // namespace vellum::bt
