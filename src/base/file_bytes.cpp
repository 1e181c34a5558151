#include "base/file_bytes.hpp"

#include <unistd.h>

#include <cerrno>

namespace vellum {

Result<> write_at(int fd, const std::string& name, u64 offset, std::span<const u8> bytes) {
  while (!bytes.empty()) {
    const ssize_t part = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (part < 0 && errno == EINTR) continue;
    if (part <= 0) return fail_errno(fmt::format("cannot write to '{}'", name), part < 0 ? errno : EIO);
    bytes = bytes.subspan(static_cast<std::size_t>(part));
    offset += static_cast<u64>(part);
  }
  return {};
}

Result<u64> read_at(int fd, const std::string& name, u64 offset, std::span<u8> to) {
  u64 done = 0;
  while (done < to.size()) {
    const ssize_t part = ::pread(fd, to.data() + done, to.size() - done, static_cast<off_t>(offset + done));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return fail_errno(fmt::format("cannot read '{}'", name), errno);
    if (part == 0) break;
    done += static_cast<u64>(part);
  }
  return done;
}

}  // namespace vellum
