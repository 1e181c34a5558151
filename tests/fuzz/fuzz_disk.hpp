// What fuzzers of disk controllers stand on: a disk that aborts when a request leaves it, and a wire that
// leads nowhere.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "io/disk/disk.hpp"
#include "irq/line.hpp"

namespace vellum::fuzz {

/// Reads as sevens; finishes what it was given when it is told to.
class FuzzDisk final : public Disk {
 public:
  /// `size` in bytes.
  explicit FuzzDisk(u64 size) : size_(size) {}
  u64 size() const override { return size_; }
  bool read_only() const override { return is_read_only; }
  u64 discard_granularity() const override { return kSector; }
  void submit(DiskRequest request) override {
    for (const iovec& part : request.buffers)
      if (request.kind == DiskRequest::Kind::kRead)
        std::fill_n(static_cast<u8*>(part.iov_base), part.iov_len, u8{7});
    VELLUM_ASSERT(request.offset <= size() && request.length <= size() - request.offset &&
                      request.length % kSector == 0,
                  "{}+{}", request.offset, request.length);
    VELLUM_ASSERT(takes_empty || (request.kind == DiskRequest::Kind::kFlush) == (request.length == 0),
                  "an empty request");
    VELLUM_ASSERT(request.kind == DiskRequest::Kind::kRead || !is_read_only, "a write-protected disk");
    waiting_.push_back(std::move(request));
  }
  void finish_all() override {
    while (!waiting_.empty())
      for (const DiskRequest& request : std::exchange(waiting_, {})) request.done(fails ? 5 : 0);
  }
  bool fails = false, is_read_only = false;
  bool takes_empty = false;  ///< reads and writes of nothing, as a CD-ROM drive's are

 private:
  const u64 size_;
  std::vector<DiskRequest> waiting_;
};

class NullLine final : public InterruptLine {
 public:
  void set(bool) override {}
};

}  // namespace vellum::fuzz
