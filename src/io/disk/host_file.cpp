#include "io/disk/host_file.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/file_bytes.hpp"
#include "io/disk/file_lock.hpp"

namespace vellum {

Result<std::unique_ptr<HostFile>> HostFile::open(IoQueue& queue, const std::string& path,
                                                 const Options& options) {
  const int flags = options.writable ? O_RDWR : O_RDONLY;
  FileDescriptor fd(::open(path.c_str(), flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));  // a FIFO would wait
  if (!fd) {
    const int error = errno;
    const bool refused = error == EACCES || error == EROFS || error == EPERM;
    const bool readable = ::faccessat(AT_FDCWD, path.c_str(), R_OK, AT_EACCESS) == 0;
    const char* const advice = !refused   ? ""
                               : readable ? "; with ,readonly or ,overlay=tmp it is not written to"
                                          : "; run as a user who may read it";
    return fail(error == ENOENT ? ErrorCode::kNotFound : ErrorCode::kHost, "cannot open '{}': {}{}", path,
                std::strerror(error), advice);
  }
  auto file = std::unique_ptr<HostFile>(new HostFile(queue, std::move(fd), path));
  VELLUM_TRY(file->examine());
  // io_uring takes O_NONBLOCK at its word, on files too: EAGAIN for what is not in the page cache.
  if (::fcntl(file->fd_.get(), F_SETFL, 0) != 0)
    return fail_errno(fmt::format("cannot use '{}'", path), errno);
  file->sync_ = options.sync;
  VELLUM_TRY(lock_image(file->fd_.get(), path, options.writable));
  if (options.direct) {
    // A second open file: O_DIRECT belongs to the description, and what is not aligned goes by the page
    // cache, which the kernel keeps in step.
    auto direct = FileDescriptor::open(path, flags | O_DIRECT);
    if (!direct)
      return fail(ErrorCode::kHost, "{} past the page cache (O_DIRECT); cache=writeback works anywhere",
                  direct.error().message);
    file->direct_ = std::move(*direct);
    struct stat status {};
    if (::fstat(file->direct_.get(), &status) != 0 || !file->same_file(status.st_dev, status.st_ino))
      return fail(ErrorCode::kHost, "'{}' was replaced while it was opened", path);
  }
  return file;
}

namespace {

Result<FileDescriptor> open_temporary() {
  const char* const folder = ::getenv("TMPDIR");
  const std::string place = folder != nullptr && *folder != 0 ? folder : "/var/tmp";
  // Not every file system has files without a name.
  FileDescriptor fd(::open(place.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  std::string name = place + "/vellum-XXXXXX";
  fd = FileDescriptor(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd)
    return fail_errno(fmt::format("cannot make a temporary file in '{}' ($TMPDIR chooses another)", place),
                      errno);
  ::unlink(name.c_str());
  return fd;
}

// A new file's name is stable when its folder is.
Result<> sync_folder_of(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? "." : parent.string();
  const FileDescriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // A folder may be writable and not readable, and not every file system syncs folders.
  const int error = !fd || ::fsync(fd.get()) != 0 ? errno : 0;
  if (error == 0 || error == (fd ? EINVAL : EACCES)) return {};
  return fail_errno(fmt::format("cannot write to '{}'", folder), error);
}

}  // namespace

Result<std::unique_ptr<HostFile>> HostFile::temporary(IoQueue& queue, const std::string& name,
                                                      std::span<const u8> bytes) {
  VELLUM_TRY_ASSIGN(fd, open_temporary());
  VELLUM_TRY(write_at(fd.get(), name, 0, bytes));
  auto file = std::unique_ptr<HostFile>(new HostFile(queue, std::move(fd), name));
  VELLUM_TRY(file->examine());
  file->sync_ = false;
  return file;
}

Result<> HostFile::create(const std::string& path, std::span<const u8> bytes) {
  VELLUM_TRY_ASSIGN(fd, FileDescriptor::open(path, O_RDWR | O_CREAT | O_EXCL));
  auto written = write_at(fd.get(), path, 0, bytes);
  if (written && ::fsync(fd.get()) != 0)
    written = fail_errno(fmt::format("cannot write to '{}'", path), errno);
  if (written) written = sync_folder_of(path);
  if (!written) ::unlink(path.c_str());
  return written;
}

Result<> HostFile::examine() {
  struct stat status {};
  if (::fstat(fd_.get(), &status) != 0) return fail_errno(fmt::format("cannot examine '{}'", path_), errno);
  device_ = status.st_dev;
  inode_ = status.st_ino;
  if (S_ISREG(status.st_mode)) {
    size_ = static_cast<u64>(status.st_size);
    return {};
  }
  if (S_ISBLK(status.st_mode)) {
    block_device_ = true;
    if (::ioctl(fd_.get(), BLKGETSIZE64, &size_) != 0)
      return fail_errno(fmt::format("cannot ask '{}' for its size", path_), errno);
    return {};
  }
  if (S_ISDIR(status.st_mode))
    return fail(ErrorCode::kBadInput, "'{}' is a directory, not a disk image", path_);
  return fail(ErrorCode::kBadInput, "'{}' is neither a regular file nor a block device", path_);
}

int HostFile::fd_for(u64 offset, std::span<const iovec> buffers) const {
  if (!direct_) return fd_.get();
  // SAFETY: the addresses are only looked at for their alignment.
  u64 all = offset;
  for (const iovec& buffer : buffers) all |= reinterpret_cast<u64>(buffer.iov_base) | buffer.iov_len;
  return all % kDirectAlignment == 0 ? direct_.get() : fd_.get();
}

Task<int> HostFile::transfer(IoOperation::Kind kind, u64 offset, std::span<const iovec> buffers) {
  Buffers rest;  // once the file moved less than asked for
  IoOperation operation;
  operation.kind = kind;
  operation.fd = fd_for(offset, buffers);
  while (!buffers.empty()) {
    operation.offset = offset;
    operation.buffers = buffers.data();
    operation.buffer_count =
        static_cast<unsigned>(std::min<std::size_t>(buffers.size(), IoOperation::kMaxBuffers));
    IoWait done(queue_, operation);
    const int result = co_await done;
    if (result == -EINTR || result == -EAGAIN) continue;
    if (result == -EINVAL && operation.fd != fd_.get()) {  // a device that wants more alignment than usual
      operation.fd = fd_.get();
      continue;
    }
    if (result < 0) co_return -result;
    if (result == 0) {
      if (kind == IoOperation::Kind::kWrite) co_return EIO;
      fill_zero(buffers);  // beyond the end
      break;
    }
    const u64 moved = static_cast<u64>(result);
    offset += moved;
    Buffers next = slice_buffers(buffers, moved, total_length(buffers) - moved);
    if (next.empty()) break;
    rest = std::move(next);
    buffers = rest;
    operation.fd = fd_for(offset, buffers);
  }
  co_return 0;
}

Task<int> HostFile::read(u64 offset, std::span<const iovec> buffers) {
  return transfer(IoOperation::Kind::kRead, offset, buffers);
}

Task<int> HostFile::write(u64 offset, std::span<const iovec> buffers) {
  return transfer(IoOperation::Kind::kWrite, offset, buffers);
}

Task<int> HostFile::sync() {
  if (!sync_ || sync_error_ != 0) co_return sync_error_;
  Task<int> syncing = operate(IoOperation::Kind::kSync, 0, 0);
  const int error = co_await syncing;
  // The kernel tells of lost pages once and takes them for clean from then on: a later fdatasync that does
  // well says nothing about them.
  if (error != 0) sync_error_ = error;
  co_return sync_error_;
}

// What moves no bytes. 0 or an errno.
Task<int> HostFile::operate(IoOperation::Kind kind, u64 offset, u64 length) {
  IoOperation operation;
  operation.kind = kind;
  operation.fd = fd_.get();
  operation.offset = offset;
  operation.length = length;
  for (;;) {
    IoWait done(queue_, operation);
    const int result = co_await done;
    if (result != -EINTR && result != -EAGAIN) co_return -result;
  }
}

Task<int> HostFile::discard(u64 offset, u64 length) {
  Task<int> punching = operate(IoOperation::Kind::kPunch, offset, length);
  const int error = co_await punching;
  // A hint that nobody takes; EINVAL: not at this alignment.
  const bool refused = error == EOPNOTSUPP || error == ENOTTY || error == ENODEV || error == EINVAL;
  co_return refused ? 0 : error;
}

Task<int> HostFile::zero(u64 offset, u64 length, bool may_unmap) {
  Task<int> zeroing =
      operate(may_unmap ? IoOperation::Kind::kPunch : IoOperation::Kind::kZero, offset, length);
  const int refusal = co_await zeroing;
  if (refusal != EOPNOTSUPP && refusal != ENOTTY && refusal != EINVAL) co_return refusal;
  while (length > 0) {
    const u64 part = std::min<u64>(length, u64{8} << 20);
    Buffers zeroes;
    append_zeroes(zeroes, part);
    Task<int> writing = write(offset, zeroes);
    const int error = co_await writing;
    if (error != 0) co_return error;
    offset += part;
    length -= part;
  }
  co_return 0;
}

Result<std::vector<u8>> HostFile::read_now(u64 offset, u64 length) const {
  std::vector<u8> bytes(length);
  VELLUM_TRY(read_at(fd_.get(), path_, offset, bytes));
  return bytes;
}

Result<> HostFile::write_now(u64 offset, std::span<const u8> bytes) const {
  VELLUM_TRY(write_at(fd_.get(), path_, offset, bytes));
  if (sync_ && ::fdatasync(fd_.get()) != 0)
    return fail_errno(fmt::format("cannot write to '{}'", path_), errno);
  return {};
}

}  // namespace vellum
