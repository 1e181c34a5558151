// An open image file or block device of the host, read and written asynchronously. What is short is finished,
// what the file system cannot do is done by hand, and beyond its end it reads as zeroes.
#pragma once

#include "base/fd.hpp"
#include "io/disk/buffers.hpp"
#include "io/disk/io_queue.hpp"

namespace vellum {

class HostFile {
 public:
  struct Options {
    bool writable = false;
    bool direct = false;  ///< O_DIRECT for what is aligned
    bool sync = true;     ///< else sync() does nothing
  };
  /// `queue` outlives it. Refuses what is neither a regular file nor a block device.
  static Result<std::unique_ptr<HostFile>> open(IoQueue& queue, const std::string& path,
                                                const Options& options);
  /// A file without a name that begins with `bytes`, in $TMPDIR or /var/tmp; errors and logs call it `name`.
  /// sync() does nothing: it goes with us.
  static Result<std::unique_ptr<HostFile>> temporary(IoQueue& queue, const std::string& name,
                                                     std::span<const u8> bytes);
  /// Makes a file of `bytes` where there is none: stable, and so is its name.
  static Result<> create(const std::string& path, std::span<const u8> bytes);

  const std::string& path() const { return path_; }
  bool is_block_device() const { return block_device_; }
  u64 initial_size() const { return size_; }  ///< bytes, when it was opened
  /// Which file it is, whatever its name.
  bool same_file(u64 device, u64 inode) const { return device_ == device && inode_ == inode; }

  /// All give 0 or an errno. The buffers outlive the task.
  Task<int> read(u64 offset, std::span<const iovec> buffers);
  Task<int> write(u64 offset, std::span<const iovec> buffers);
  /// What was written before is on stable storage. After one error it gives that for ever.
  Task<int> sync();
  /// Gives the range's place back if the file system can; what it then reads is unspecified.
  Task<int> discard(u64 offset, u64 length);
  /// The range reads as zeroes.
  Task<int> zero(u64 offset, u64 length, bool may_unmap);

  /// At opening and creation only: block. What is read beyond the end is zeroes, what is written is stable.
  Result<std::vector<u8>> read_now(u64 offset, u64 length) const;
  Result<> write_now(u64 offset, std::span<const u8> bytes) const;

  IoQueue& queue() const { return queue_; }

 private:
  static constexpr u64 kDirectAlignment = 4096;

  HostFile(IoQueue& queue, FileDescriptor fd, std::string path)
      : queue_(queue), fd_(std::move(fd)), path_(std::move(path)) {}
  Result<> examine();
  Task<int> operate(IoOperation::Kind kind, u64 offset, u64 length);
  Task<int> transfer(IoOperation::Kind kind, u64 offset, std::span<const iovec> buffers);
  int fd_for(u64 offset, std::span<const iovec> buffers) const;

  IoQueue& queue_;
  FileDescriptor fd_;
  FileDescriptor direct_;
  std::string path_;
  bool block_device_ = false;
  bool sync_ = true;
  int sync_error_ = 0;  ///< of the first sync that failed
  u64 size_ = 0, device_ = 0, inode_ = 0;
};

}  // namespace vellum
