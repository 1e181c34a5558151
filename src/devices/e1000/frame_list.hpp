// Frames that are ready for the network, in order. Their memory is used again.
#pragma once

#include <vector>

#include "io/net/frame.hpp"

namespace vellum::e1000 {

struct Outgoing {
  std::vector<u8> bytes;
  net::FrameOffload offload;
};

class FrameList {
 public:
  std::span<const Outgoing> frames() const { return std::span(all_).first(used_); }
  /// One more, with what was in it once.
  Outgoing& next() {
    if (used_ == all_.size()) all_.emplace_back();
    Outgoing& frame = all_[used_++];
    frame.offload = {};
    return frame;
  }
  void clear() {
    used_ = 0;
    if (all_.size() > kKept) all_.resize(kKept);
  }

 private:
  static constexpr std::size_t kKept = 128;
  std::vector<Outgoing> all_;
  std::size_t used_ = 0;
};

}  // namespace vellum::e1000
