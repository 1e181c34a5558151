// One cable of the virtual switch: frames as messages of a SOCK_SEQPACKET socket between two processes of one
// host, which keep their boundaries.
//
//   message   u32 kind | kFrame: virtio_net_hdr (10 bytes), then the frame
//                      | kHello: u32 version, u32 the offloads that the sender understands from now on
//
// Each side checks every message as if a stranger had sent it; what is not as above is dropped. A peer that
// does not read loses frames once kMaxQueued bytes wait for it. Both are counted.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/fd.hpp"
#include "io/event_loop.hpp"
#include "io/net/network.hpp"

namespace vellum::net {

class FrameSocket final : public FrameSink {
 public:
  struct Events {
    std::function<void(const Frame&)> frame;  ///< fits its offload; valid for the call
    std::function<bool()> want_more;          ///< whether another frame may be read now
    std::function<void()> closed;             ///< once, from the loop; may destroy this
  };
  /// `dropped` counts the messages that got lost here, and outlives this.
  static Result<std::unique_ptr<FrameSocket>> create(EventLoop& loop, FileDescriptor socket, Counter& dropped,
                                                     Events events);
  ~FrameSocket() override;

  /// What we understand; the peer hears of it if it is not what it heard last.
  void announce(Offloads offloads);
  /// want_more() may answer otherwise than before.
  void resume();
  /// What the peer understands.
  Offloads understands() const override { return peer_; }

  /// One message, as it came: for tests and fuzzing, and what is behind the socket.
  void on_message(std::span<const u8> message);

 protected:
  void take(const Frame& frame) override;

 private:
  static constexpr std::size_t kMaxQueued = 1 << 20;
  FrameSocket(EventLoop& loop, FileDescriptor socket, Counter& dropped, Events events)
      : loop_(loop), socket_(std::move(socket)), dropped_(dropped), events_(std::move(events)) {}
  void on_readable();
  void on_writable();
  /// False: the message is lost.
  bool send(std::span<const iovec> pieces);
  void fail_soon();

  EventLoop& loop_;
  FileDescriptor socket_;
  Counter& dropped_;
  Events events_;
  std::unique_ptr<EventLoop::Watch> readable_, writable_;
  bool reading_ = false, writing_ = false, failed_ = false;
  Offloads peer_ = Offloads::kNone;
  std::optional<Offloads> announced_;
  std::vector<u8> buffer_;
  std::vector<iovec> pieces_;
  std::deque<std::vector<u8>> queue_;
  std::size_t queued_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace vellum::net
