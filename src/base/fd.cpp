#include "base/fd.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace vellum {

FileDescriptor::~FileDescriptor() {
  if (fd_ >= 0) ::close(fd_);
}

Result<FileDescriptor> FileDescriptor::open(const std::string& path, int flags, unsigned mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) {
    const auto code = errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kHost;
    return fail(code, "cannot open '{}': {}", path, std::strerror(errno));
  }
  return FileDescriptor(fd);
}

void reserve_standard_descriptors() {
  // open() gives the lowest free number: once it gives a higher one, 0 to 2 are all taken. Read-only, so that
  // writing to a closed standard output fails as it should; what goes to a closed standard error is lost.
  int fd = 0;
  do {
    fd = ::open("/dev/null", O_RDONLY | O_NOCTTY);
    if (fd != STDERR_FILENO) continue;
    ::close(fd);
    fd = ::open("/dev/null", O_RDWR | O_NOCTTY);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) ::close(fd);
}

Mapping::~Mapping() {
  if (address_ != nullptr) ::munmap(address_, size_);
}

Result<Mapping> Mapping::create(std::size_t size, int protection, int flags, int fd, i64 offset) {
  void* address = ::mmap(nullptr, size, protection, flags, fd, offset);
  if (address == MAP_FAILED) return fail_errno(fmt::format("cannot map {} bytes", size), errno);
  return Mapping(address, size);
}

Result<FileContents> FileContents::map(const std::string& path) {
  VELLUM_TRY_ASSIGN(fd, FileDescriptor::open(path, O_RDONLY | O_NONBLOCK));  // a FIFO would wait for a writer
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(fmt::format("cannot examine '{}'", path), errno);
  if (S_ISDIR(status.st_mode)) return fail(ErrorCode::kBadInput, "'{}' is a directory, not a file", path);
  if (!S_ISREG(status.st_mode)) return fail(ErrorCode::kBadInput, "'{}' is not a regular file", path);
  if (status.st_size == 0) return fail(ErrorCode::kBadInput, "'{}' is empty", path);
  auto mapping = Mapping::create(static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, fd.get());
  if (!mapping) return tl::unexpected(std::move(mapping).error().context(fmt::format("reading '{}'", path)));
  return FileContents{std::move(*mapping)};
}

}  // namespace vellum
