// A disk in memory, which finishes requests when it is told to.
#pragma once

#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <utility>

#include "io/disk/disk.hpp"

namespace vellum::test {

class MemoryDisk final : public Disk {
 public:
  u64 size() const override { return bytes.size(); }
  bool read_only() const override { return is_read_only; }
  u64 discard_granularity() const override { return 4096; }
  void submit(DiskRequest request) override {
    kinds.push_back(request.kind);
    waiting.push_back(std::move(request));
  }
  void finish_all() override {
    if (before_finishing) std::exchange(before_finishing, {})();
    while (!waiting.empty()) {
      DiskRequest request = std::move(waiting.front());
      waiting.pop_front();
      u64 at = request.offset;
      for (const iovec& part : request.buffers) {
        u8* const here = bytes.data() + at;
        if (request.kind == DiskRequest::Kind::kRead) std::memcpy(part.iov_base, here, part.iov_len);
        if (request.kind == DiskRequest::Kind::kWrite) std::memcpy(here, part.iov_base, part.iov_len);
        at += part.iov_len;
      }
      if (request.kind == DiskRequest::Kind::kWriteZeroes)
        std::fill_n(bytes.begin() + static_cast<long>(request.offset), request.length, u8{0});
      request.done(fails ? EIO : 0);
    }
  }
  std::vector<u8> bytes = std::vector<u8>(64 * 512, 0xab);
  std::deque<DiskRequest> waiting;
  std::function<void()> before_finishing;  ///< called once
  std::vector<DiskRequest::Kind> kinds;
  bool is_read_only = false, fails = false;
};

}  // namespace vellum::test
