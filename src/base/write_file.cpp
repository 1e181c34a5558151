#include "base/write_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

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

Result<> check_writable(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error))
    return fail_errno(fmt::format("cannot write '{}'", path), EISDIR);
  std::filesystem::path target = path;
  if (std::filesystem::is_symlink(path, error))  // the file is made where it leads to
    target = target.parent_path() / std::filesystem::read_symlink(path, error);
  const std::filesystem::path parent = target.parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const bool there = ::faccessat(AT_FDCWD, path.c_str(), F_OK, AT_EACCESS) == 0;
  // A file is written to, or made in its folder.
  if (::faccessat(AT_FDCWD, there ? path.c_str() : folder.c_str(), there ? W_OK : W_OK | X_OK, AT_EACCESS) ==
      0)
    return {};
  return fail_errno(fmt::format("cannot write '{}'", path), errno);
}

}  // namespace vellum
