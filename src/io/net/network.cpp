#include "io/net/network.hpp"

#include "io/net/finish.hpp"

namespace vellum::net {

void put_bytes(FrameSink& sink, std::span<const u8> bytes, const FrameOffload& offload) {
  const iovec piece{const_cast<u8*>(bytes.data()),
                    bytes.size()};  // sinks do not write to what they are given
  sink.put({offload, {&piece, 1}});
}

void FrameSink::put(const Frame& frame) {
  const Offloads missing = needed(frame.offload) & ~understands();
  if (!any(missing)) {
    take(frame);
    return;
  }
  const std::size_t size = frame_size(frame.pieces);
  if (scratch_.size() < size) scratch_.resize(size);
  const std::span<u8> bytes = gather(frame.pieces, scratch_);
  const auto take_finished = [this](std::span<const u8> finished) {
    FrameOffload offload;
    offload.checksum_valid = true;
    const iovec piece{const_cast<u8*>(finished.data()), finished.size()};
    take({offload, {&piece, 1}});
  };
  if (frame.offload.gso != Gso::kNone) {
    (void)segment(bytes, frame.offload, take_finished);  // what is no such packet is lost, as on a bad cable
    return;
  }
  finish_checksum(bytes, frame.offload);
  take_finished(bytes);
}

}  // namespace vellum::net
