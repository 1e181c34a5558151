#include "io/net/receiver_queue.hpp"

namespace vellum::net {

void ReceiverQueue::connect(FrameReceiver* receiver) {
  receiver_ = receiver;
  if (receiver_ != nullptr) return;
  waiting_.clear();
  waiting_bytes_ = 0;
}

void ReceiverQueue::put(const Frame& frame) {
  const std::size_t size = frame_size(frame.pieces);
  if (receiver_ == nullptr || size > kMaxBytes - waiting_bytes_) {
    traffic_.dropped.add();
  } else if (waiting_.empty() && receiver_->has_room()) {
    traffic_.received(size);
    receiver_->put(frame);
  } else {
    std::vector<u8> bytes(size);
    gather(frame.pieces, bytes);
    waiting_.push_back({frame.offload, std::move(bytes)});
    waiting_bytes_ += size;
  }
}

void ReceiverQueue::flush() {
  while (!waiting_.empty() && receiver_->has_room()) {
    const Waiting frame = std::move(waiting_.front());
    waiting_.pop_front();
    waiting_bytes_ -= frame.bytes.size();
    traffic_.received(frame.bytes.size());
    put_bytes(*receiver_, frame.bytes, frame.offload);
  }
}

}  // namespace vellum::net
