// A network for tests of cards.
#pragma once

#include <deque>

#include "frames.hpp"

namespace vellum::net {

/// Keeps what the guest sends; frames for the guest wait in it while the card has no room.
class TestNetwork final : public Network {
 public:
  Offloads understands() const override { return offloads; }
  void connect(FrameReceiver* to) override { receiver = to; }
  void receiver_ready() override {
    ++told;
    while (receiver != nullptr && !waiting.empty() && receiver->has_room()) {
      const Bytes frame = std::move(waiting.front());
      waiting.pop_front();
      put_bytes(*receiver, frame);
    }
  }
  void stats(std::vector<StatRow>&) const override {}

  Offloads offloads = kAllOffloads;
  FrameReceiver* receiver = nullptr;
  unsigned told = 0;
  std::vector<RecordingReceiver::Got> sent;
  std::deque<Bytes> waiting;

 protected:
  void take(const Frame& frame) override {
    Bytes bytes(frame_size(frame.pieces));
    gather(frame.pieces, bytes);
    sent.push_back({frame.offload, std::move(bytes)});
  }
};

}  // namespace vellum::net
