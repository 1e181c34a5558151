// Feeds messages to the switch as hostile peers would send them. What comes out at the other ports must fit
// its description, and at a port that understands nothing, be complete.
#include <sys/socket.h>

#include <memory>
#include <vector>

#include "fuzz_input.hpp"
#include "io/net/frame_socket.hpp"
#include "io/net/packet.hpp"
#include "io/net/switch_hub.hpp"

using namespace vellum;

namespace {

class Port final : public net::FrameSink {
 public:
  explicit Port(net::Offloads offloads) : offloads_(offloads) {}
  net::Offloads understands() const override { return offloads_; }

 protected:
  void take(const net::Frame& frame) override {
    if (!net::fits(frame.offload, net::frame_size(frame.pieces))) __builtin_trap();
    if (any(net::needed(frame.offload) & ~offloads_)) __builtin_trap();
  }

 private:
  net::Offloads offloads_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const u8* data, std::size_t size) {
  static const std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  fuzz::Input input(data, size);
  net::SwitchHub hub;
  Port all(net::kAllOffloads), none(net::Offloads::kNone), checksum(net::Offloads::kChecksum);
  hub.add(all);
  hub.add(none);
  hub.add(checksum);
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) return 0;
  const FileDescriptor other(ends[1]);
  unsigned number = 0;
  Counter dropped;
  net::FrameSocket::Events events;
  events.frame = [&](const net::Frame& frame) { hub.forward(number, frame); };
  events.want_more = [] { return false; };
  events.closed = [] {};
  auto socket = net::FrameSocket::create(*loop, FileDescriptor(ends[0]), dropped, std::move(events));
  if (!socket) return 0;
  number = hub.add(**socket);
  while (!input.empty()) {
    const auto message = input.take_bytes(input.take<u16>() % 2048);
    (*socket)->on_message(message);
    if (const auto packet = net::parse_packet(message)) {
      if (packet->transport > packet->end || packet->end > message.size()) __builtin_trap();
      (void)net::transport_checksum_right(message, *packet);
    }
  }
  return 0;
}
