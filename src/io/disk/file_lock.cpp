#include "io/disk/file_lock.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>

#include <span>

#include "base/int.hpp"

namespace vellum {
namespace {

// Permissions by number, as QEMU's block layer has them.
constexpr unsigned kConsistentRead = 0, kWrite = 1, kResize = 3;
constexpr off_t kUsed = 100, kUnshared = 200;

constexpr unsigned kUsedByReader[] = {kConsistentRead};
constexpr unsigned kUsedByWriter[] = {kConsistentRead, kWrite, kResize};
constexpr unsigned kNotShared[] = {kWrite, kResize};  // readers and writers alike

struct flock one_byte(short type, off_t byte) {
  struct flock range {};
  range.l_type = type;
  range.l_whence = SEEK_SET;
  range.l_start = byte;
  range.l_len = 1;
  return range;
}

bool take(int fd, off_t byte) {
  struct flock range = one_byte(F_RDLCK, byte);
  return ::fcntl(fd, F_OFD_SETLK, &range) == 0;
}

// Whether another open file has the byte.
bool taken(int fd, off_t byte) {
  struct flock range = one_byte(F_WRLCK, byte);
  return ::fcntl(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

}  // namespace

Result<> lock_image(int fd, const std::string& path, bool writable) {
  const std::span<const unsigned> used =
      writable ? std::span<const unsigned>(kUsedByWriter) : std::span<const unsigned>(kUsedByReader);
  bool locked = true;
  for (const unsigned permission : used) locked = locked && take(fd, kUsed + permission);
  for (const unsigned permission : kNotShared) locked = locked && take(fd, kUnshared + permission);
  if (!locked) {
    if (errno != EAGAIN && errno != EACCES) {
      spdlog::warn("'{}' cannot be locked ({}): nothing keeps a second program from writing to it", path,
                   std::strerror(errno));
      return {};
    }
    return fail(ErrorCode::kHost, "'{}' is locked by another program", path);
  }
  for (const unsigned permission : used)
    if (taken(fd, kUnshared + permission)) {
      if (permission == kConsistentRead)
        return fail(ErrorCode::kHost,
                    "'{}' is in use by another program that shares it with nobody; end that first", path);
      return fail(ErrorCode::kHost,
                  "'{}' is in use by another program (a virtual machine, qemu-img?) or another --disk, so it "
                  "cannot be "
                  "written to; end that first, or give both ,readonly or ,overlay=tmp",
                  path);
    }
  for (const unsigned permission : kNotShared)
    if (taken(fd, kUsed + permission))
      return fail(ErrorCode::kHost,
                  "'{}' is being written to by another program (a virtual machine, qemu-img?) or another "
                  "--disk; end that "
                  "first",
                  path);
  return {};
}

}  // namespace vellum
