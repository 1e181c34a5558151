// A network for fuzzers of cards.
#pragma once

#include <vector>

#include "base/assert.hpp"
#include "io/net/network.hpp"

namespace vellum::fuzz {

/// Sends everything back, with its offload and without one.
class FuzzNetwork final : public net::Network {
 public:
  net::Offloads understands() const override { return net::kAllOffloads; }
  void connect(net::FrameReceiver* receiver) override { receiver_ = receiver; }
  void receiver_ready() override {}
  void stats(std::vector<StatRow>&) const override {}

 protected:
  void take(const net::Frame& frame) override {
    const std::size_t size = net::frame_size(frame.pieces);
    VELLUM_ASSERT(net::fits(frame.offload, size), "a frame of {} bytes that does not fit its offload", size);
    std::vector<u8> bytes(size);
    net::gather(frame.pieces, bytes);
    if (receiver_ == nullptr) return;
    receiver_->has_room();
    net::put_bytes(*receiver_, bytes, frame.offload);
    if (receiver_->has_room()) net::put_bytes(*receiver_, bytes);
  }

 private:
  net::FrameReceiver* receiver_ = nullptr;
};

}  // namespace vellum::fuzz
