// What a disk is to the device in front of it (virtio-blk, IDE): an array of bytes that takes requests,
// several at once, and finishes them in any order on the event loop's thread.
//
// Flush is the only order there is: when a kFlush finishes, every write, discard and write of zeroes that had
// finished before it was submitted is on stable storage. Requests that are under way together, and overlap,
// may take effect in any order, as on hardware.
#pragma once

#include <sys/uio.h>

#include <functional>
#include <vector>

#include "base/int.hpp"

namespace vellum {

struct DiskRequest {
  enum class Kind : u8 { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };
  Kind kind = Kind::kRead;
  u64 offset = 0;              ///< bytes, a multiple of 512
  u64 length = 0;              ///< bytes, a multiple of 512; the sum of `buffers` for reads and writes
  std::vector<iovec> buffers;  ///< host memory; stays valid until `done`
  bool may_unmap = false;      ///< kWriteZeroes: the range may lose its place in the file
  /// Called once on the loop's thread with 0 or an errno, never from within submit(); it may submit more.
  std::function<void(int error)> done;
};

/// Everything runs on the loop's thread (or while no thread runs). A request that reaches beyond size(), is
/// not made of whole sectors or writes to a read-only disk finishes with EINVAL, EINVAL and EROFS: the front
/// end need not check.
class Disk {
 public:
  static constexpr u64 kSector = 512;

  virtual ~Disk() = default;     ///< with nothing under way
  virtual u64 size() const = 0;  ///< bytes, a multiple of 512; fixed
  virtual bool read_only() const = 0;
  /// Bytes, a power of two of at least 512: what is discarded in whole such pieces gives up its place.
  virtual u64 discard_granularity() const = 0;
  virtual void submit(DiskRequest request) = 0;
  /// Returns when nothing is under way: all `done` were called. Not from within a `done`.
  virtual void finish_all() = 0;
};

}  // namespace vellum
