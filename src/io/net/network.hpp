// The seam between network cards (front ends) and networks (back ends).
//
//   front end ── network.put(frame) ──> network          what the guest sends
//   front end <── receiver.put(frame) ── network         what it receives, while receiver.has_room()
//             ─── network.receiver_ready() ──>           there is room again, or other offloads are
//             understood
//
// Both are sinks of frames; each says which offloads it understands, and put() finishes what it does not, so
// neither side need look at the other's abilities.
//
// Threads: everything here is called on the event loop's thread, or while that does not run.
#pragma once

#include <memory>
#include <vector>

#include "base/stats.hpp"
#include "io/net/frame.hpp"

namespace vellum::net {

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  /// What take() must be able to get. May change between frames (a guest's driver negotiates).
  virtual Offloads understands() const = 0;
  /// Hands the frame over, finished as far as the sink needs it: as it is, with its checksum completed, or in
  /// segments. `frame.offload` fits the frame.
  void put(const Frame& frame);

 protected:
  /// One frame; the pieces are the caller's and valid for the call. Never refuses: what there is no room for
  /// is dropped, and counted.
  virtual void take(const Frame& frame) = 0;

 private:
  std::vector<u8> scratch_;
};

/// A front end's receiving side.
class FrameReceiver : public FrameSink {
 public:
  /// Whether a frame put now would not be lost. A network that can wait asks before each put().
  virtual bool has_room() const = 0;
};

/// A network as a front end sees it: the other end of its cable.
class Network : public FrameSink, public StatSource {
 public:
  /// Who gets the frames from now on; nullptr: nobody, they are dropped or held back. What is connected stays
  /// alive until it is disconnected.
  virtual void connect(FrameReceiver* receiver) = 0;
  /// The receiver has room again, or understands other offloads than before.
  virtual void receiver_ready() = 0;
  /// Whether there is a cable.
  virtual bool link_up() const { return true; }
};

/// Copies `bytes` as one frame to a sink; for senders that hold a frame in one piece.
void put_bytes(FrameSink& sink, std::span<const u8> bytes, const FrameOffload& offload = {});

/// A card without a cable.
class NullNetwork final : public Network {
 public:
  Offloads understands() const override { return kAllOffloads; }
  void connect(FrameReceiver*) override {}
  void receiver_ready() override {}
  bool link_up() const override { return false; }
  void stats(std::vector<StatRow>&) const override {}

 protected:
  void take(const Frame&) override {}
};

}  // namespace vellum::net
