// A disk image: bytes that a format keeps in a file. Images stand on each other (a qcow2 image reads from its
// backing image what it does not have), and at the top ImageDisk makes a Disk of one.
#pragma once

#include <string_view>

#include "io/disk/buffers.hpp"
#include "io/disk/host_file.hpp"
#include "io/disk/task.hpp"

namespace vellum {

/// Offsets and lengths are within size() rounded up to whole sectors. Everything gives 0 or an errno, on the
/// loop's thread.
class Image {
 public:
  virtual ~Image() = default;                   ///< with no task under way
  virtual std::string_view format() const = 0;  ///< "raw", "qcow2"
  virtual u64 size() const = 0;                 ///< bytes, a multiple of 512
  virtual u64 cluster_size() const = 0;         ///< bytes, what is allocated and discarded in one piece
  virtual const HostFile& file() const = 0;
  virtual const Image* backing() const = 0;

  virtual Task<int> read(u64 offset, std::span<const iovec> buffers) = 0;
  virtual Task<int> write(u64 offset, std::span<const iovec> buffers) = 0;
  virtual Task<int> discard(u64 offset, u64 length) = 0;
  virtual Task<int> write_zeroes(u64 offset, u64 length, bool may_unmap) = 0;
  /// What has finished is on stable storage.
  virtual Task<int> flush() = 0;
  /// The last flush before the image goes: leaves nothing behind that a flush may leave.
  virtual Task<int> close() = 0;
};

}  // namespace vellum
