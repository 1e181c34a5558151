// Frames for a front end that has no room at the moment: held back in order, up to a limit.
#pragma once

#include <deque>
#include <vector>

#include "io/net/network.hpp"
#include "io/net/traffic.hpp"

namespace vellum::net {

class ReceiverQueue {
 public:
  explicit ReceiverQueue(Traffic& traffic) : traffic_(traffic) {}

  /// nullptr: nobody; what waits is dropped, and so is what comes.
  void connect(FrameReceiver* receiver);
  FrameReceiver* receiver() const { return receiver_; }
  /// Frames wait: whoever can wait with more should.
  bool blocked() const { return !waiting_.empty(); }
  void put(const Frame& frame);
  /// As many of the waiting ones as there is room for.
  void flush();

 private:
  static constexpr std::size_t kMaxBytes = 1 << 20;
  struct Waiting {
    FrameOffload offload;
    std::vector<u8> bytes;
  };
  Traffic& traffic_;
  FrameReceiver* receiver_ = nullptr;
  std::deque<Waiting> waiting_;
  std::size_t waiting_bytes_ = 0;
};

}  // namespace vellum::net
