#include "base/write_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.hpp"

namespace vellum {

Result<> write_file(const std::string& path, std::span<const u8> bytes) {
  VELLUM_TRY_ASSIGN(file, FileDescriptor::open(path, O_WRONLY | O_CREAT | O_TRUNC));
  while (!bytes.empty()) {
    const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(fmt::format("cannot write '{}'", path), errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace vellum
