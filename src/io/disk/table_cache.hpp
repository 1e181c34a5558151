// Pieces ("slices") of an image's tables in memory, written back together. Least recently used clean ones go
// when there are too many; dirty ones stay until a write-back, which their owner orders.
#pragma once

#include <list>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/byte_order.hpp"
#include "io/disk/host_file.hpp"

namespace vellum {

struct TableSlice {
  u64 offset = 0;  ///< in the file
  std::vector<u8> bytes;
  bool dirty = false;
  bool forgotten = false;

  u64 be64(u64 index) const { return load_be64(&bytes[index * 8]); }
  void set_be64(u64 index, u64 value) { store_be64(&bytes[index * 8], value); }
};
/// Change one only between getting it and the next co_await.
using TableSliceRef = std::shared_ptr<TableSlice>;

class TableCache {
 public:
  TableCache(HostFile& file, u64 slice_size, u64 max_bytes)
      : file_(file), slice_size_(slice_size), max_slices_(max_bytes / slice_size) {}

  u64 slice_size() const { return slice_size_; }
  /// The slice at `offset`, a multiple of the slice size.
  Task<Io<TableSliceRef>> get(u64 offset);
  void set_dirty(const TableSliceRef& slice);
  /// What stood in this part of the file is something else now.
  void forget(u64 offset, u64 length);

  /// What was dirty, as it is now; it counts as clean from here on.
  struct Copy {
    TableSliceRef slice;
    std::vector<u8> bytes;
  };
  std::vector<Copy> take_dirty();
  Task<int> write(const std::vector<Copy>& copies);
  /// Could not be written: all dirty again.
  void restore_dirty(const std::vector<Copy>& copies);
  /// It is time for a write-back: more is dirty than should be.
  bool crowded() const { return dirty_.size() > max_slices_ / 2; }

 private:
  struct Entry {
    TableSliceRef slice;
    std::list<u64>::iterator age;
  };
  void make_room();

  HostFile& file_;
  u64 slice_size_;
  std::size_t max_slices_;
  std::unordered_map<u64, Entry> slices_;
  std::list<u64> by_age_;  ///< offsets, newest first
  std::vector<TableSliceRef> dirty_;
  u64 forgets_ = 0;
  /// Being read: who else wants it waits.
  std::unordered_map<u64, std::vector<std::coroutine_handle<>>> loading_;
};

}  // namespace vellum
