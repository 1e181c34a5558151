#include "devices/virtio/vsock.hpp"

#include <poll.h>
#include <sys/socket.h>

#include "driver.hpp"

namespace vellum {
namespace {

using test::Ring;
using virtio::VsockConnection;
using virtio::VsockHeader;
using virtio::VsockOp;

constexpr u64 kRings = 0x10000, kOut = 0x100000, kIn = 0x200000, kEvents = 0x300000, kBufferStep = 0x2000;
constexpr u64 kCid = 7;
constexpr u32 kGuestPort = 1000, kHostPort = 80;

/// Answers at port 80 with one end of a pair of sockets.
class FakeHost final : public VsockHost {
 public:
  FileDescriptor connect(u32 port) override {
    if (port != kHostPort) return {};
    return pair();
  }
  void listen(Listener listener) override { listener_ = std::move(listener); }
  void call(u32 port) {
    ASSERT_TRUE(listener_);
    listener_(pair(), port);
  }
  bool listened_to() const { return static_cast<bool>(listener_); }
  FileDescriptor pair() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    peer = FileDescriptor(ends[0]);
    return FileDescriptor(ends[1]);
  }
  FileDescriptor peer;  ///< of the last pair

 private:
  Listener listener_;
};

struct VirtioVsock : ::testing::Test {
  void make(const virtio::Vsock::State& state = virtio::Vsock::State()) {
    vsock = std::make_unique<virtio::Vsock>(IoContext{loop.get(), false}, host, kCid, state);
    vsock->connect(transport);
  }
  void start(unsigned buffers = 24) {
    make();
    test::start(*vsock, 1, {&in, &out, &events});
    give(buffers);
  }
  void give(unsigned buffers, u32 size = 4096 + 44) {
    for (unsigned n = 0; n < buffers; ++n) in.add({{kIn + (given++ % 32) * kBufferStep, size, true}});
  }
  VsockHeader packet(VsockOp op, u32 guest_port = kGuestPort, u32 host_port = kHostPort) const {
    VsockHeader header;
    header.source_cid = kCid, header.target_cid = virtio::kHostCid;
    header.source_port = guest_port, header.target_port = host_port;
    header.op = static_cast<u16>(op);
    header.buffer = buffer, header.forwarded = forwarded;
    return header;
  }
  /// The guest sends it, and the loop looks at everything.
  void send(const VsockHeader& header, std::string_view data = {}) {
    const auto bytes = header.encode();
    for (std::size_t n = 0; n < bytes.size(); ++n) out.put<u8>(kOut + n, bytes[n]);
    for (std::size_t n = 0; n < data.size(); ++n) out.put<u8>(kOut + 44 + n, static_cast<u8>(data[n]));
    out.add({{kOut, 44}, {kOut + 44, static_cast<u32>(data.size())}});
    vsock->resume();
  }
  void send(VsockOp op) { send(packet(op)); }
  void send_data(std::string_view data) {
    VsockHeader header = packet(VsockOp::kData);
    header.length = static_cast<u32>(data.size());
    send(header, data);
  }
  void send_shutdown(u32 flags) {
    VsockHeader header = packet(VsockOp::kShutdown);
    header.flags = flags;
    send(header);
  }
  struct Received {
    VsockHeader header;
    std::string data;
    VsockOp op() const { return static_cast<VsockOp>(header.op); }
  };
  bool nothing() const { return in.used_index() == taken; }
  /// The next packet for the guest; an operation of 0: there is none.
  Received take() {
    if (nothing()) return {};
    const u64 at = kIn + (taken % 32) * kBufferStep;
    std::array<u8, 44> bytes{};
    for (std::size_t n = 0; n < bytes.size(); ++n) bytes[n] = in.get<u8>(at + n);
    Received packet{VsockHeader::decode(bytes), {}};
    EXPECT_EQ(in.used_length(taken), 44 + packet.header.length);
    for (u32 n = 0; n < packet.header.length; ++n) packet.data += static_cast<char>(in.get<u8>(at + 44 + n));
    ++taken;
    return packet;
  }
  void connect() {
    send(VsockOp::kRequest);
    EXPECT_EQ(take().op(), VsockOp::kResponse);
  }
  void host_sends(std::string_view text) {
    EXPECT_EQ(::send(host->peer.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
    vsock->resume();
  }
  /// What has arrived at the host; "(end)": no more will.
  std::string host_reads() {
    std::string text(400'000, '\0');
    const ssize_t got = ::recv(host->peer.get(), text.data(), text.size(), 0);
    if (got == 0) return "(end)";
    text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    return text;
  }
  std::string host_reads_all() {
    std::string all;
    for (std::string piece = host_reads(); !piece.empty() && piece != "(end)"; piece = host_reads())
      all += piece;
    return all;
  }
  void host_leaves() {
    host->peer = FileDescriptor();
    vsock->resume();
  }
  virtio::Vsock::State saved() {
    vsock->quiesce();
    return *decode_state<virtio::Vsock::State>(vsock->save());
  }

  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(8 << 20));
  test::CountingTransport transport{*ram};
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  std::shared_ptr<FakeHost> host = std::make_shared<FakeHost>();
  Ring in{*ram, kRings, 32, false}, out{*ram, kRings + 0x10000, 32, false},
      events{*ram, kRings + 0x20000, 4, false};
  std::unique_ptr<virtio::Vsock> vsock;
  u32 buffer = 1 << 20, forwarded = 0;  ///< what the guest says of its own
  unsigned given = 0;
  u16 taken = 0;
};

TEST_F(VirtioVsock, ConfigurationIsTheGuestsCid) {
  make();
  EXPECT_EQ(vsock->read_config(0, 4), kCid);
  EXPECT_EQ(vsock->read_config(4, 4), 0u);
}

TEST_F(VirtioVsock, TheGuestCallsTheHost) {
  start();
  send(VsockOp::kRequest);
  const Received answer = take();
  EXPECT_EQ(answer.op(), VsockOp::kResponse);
  EXPECT_EQ(answer.header.source_cid, virtio::kHostCid);
  EXPECT_EQ(answer.header.target_cid, kCid);
  EXPECT_EQ(answer.header.source_port, kHostPort);
  EXPECT_EQ(answer.header.target_port, kGuestPort);
  EXPECT_EQ(answer.header.buffer, VsockConnection::kBuffer);
  EXPECT_EQ(answer.header.type, virtio::kStreamType);
  send_data("to the host");
  EXPECT_EQ(host_reads(), "to the host");
  host_sends("to the guest");
  const Received data = take();
  EXPECT_EQ(data.op(), VsockOp::kData);
  EXPECT_EQ(data.data, "to the guest");
  EXPECT_EQ(data.header.forwarded, 11u);
  EXPECT_TRUE(nothing());
}

TEST_F(VirtioVsock, WhereNobodyAnswersTheGuestIsReset) {
  start();
  send(packet(VsockOp::kRequest, kGuestPort, 81));
  const Received answer = take();
  EXPECT_EQ(answer.op(), VsockOp::kReset);
  EXPECT_EQ(answer.header.source_port, 81u);
  EXPECT_EQ(answer.header.target_port, kGuestPort);
}

TEST_F(VirtioVsock, TheHostCallsTheGuest) {
  start();
  host->call(22);
  const Received request = take();
  EXPECT_EQ(request.op(), VsockOp::kRequest);
  EXPECT_EQ(request.header.target_port, 22u);
  EXPECT_EQ(request.header.source_port, 1u << 30);
  EXPECT_EQ(host_reads(), "");
  send(packet(VsockOp::kResponse, 22, 1u << 30));
  EXPECT_EQ(host_reads(), "OK 1073741824\n");
  host_sends("hello");
  EXPECT_EQ(take().data, "hello");
}

TEST_F(VirtioVsock, CallersHavePortsOfTheirOwn) {
  start();
  host->call(22);
  const FileDescriptor first = std::move(host->peer);
  host->call(22);
  EXPECT_EQ(take().header.source_port, 1u << 30);
  EXPECT_EQ(take().header.source_port, (1u << 30) + 1);
}

TEST_F(VirtioVsock, AGuestThatRefusesEndsTheCall) {
  start();
  host->call(22);
  take();
  send(packet(VsockOp::kReset, 22, 1u << 30));
  EXPECT_EQ(host_reads(), "(end)");
  EXPECT_TRUE(nothing());  // a reset is not answered
}

TEST_F(VirtioVsock, ACallerThatWaitsNoLongerIsTakenBack) {
  start();
  host->call(22);
  EXPECT_EQ(take().op(), VsockOp::kRequest);
  host_leaves();
  EXPECT_EQ(take().op(), VsockOp::kReset);
  send(packet(VsockOp::kResponse, 22, 1u << 30));
  EXPECT_EQ(take().op(), VsockOp::kReset);
}

TEST_F(VirtioVsock, WithoutADriverCallsAreRefused) {
  make();
  EXPECT_FALSE(host->listened_to());
  test::start(*vsock, 1, {&in, &out, &events});
  host->call(22);
  vsock->set_status(0);
  EXPECT_EQ(host_reads(), "(end)");
  EXPECT_FALSE(host->listened_to());
}

TEST_F(VirtioVsock, NoMoreIsSentThanTheGuestHasRoomFor) {
  start();
  buffer = 100;
  connect();
  host_sends(std::string(150, 'a'));
  EXPECT_EQ(take().data.size(), 100u);
  EXPECT_EQ(take().op(), VsockOp::kCreditRequest);
  vsock->resume();
  EXPECT_TRUE(nothing());  // it asks once
  forwarded = 30;
  send(VsockOp::kCreditUpdate);
  EXPECT_EQ(take().data.size(), 30u);
  EXPECT_EQ(take().op(), VsockOp::kCreditRequest);
  forwarded = 1000;  // more than it was sent: no credit
  send(VsockOp::kCreditUpdate);
  EXPECT_TRUE(nothing());
  forwarded = 130;
  send(VsockOp::kCreditUpdate);
  EXPECT_EQ(take().data.size(), 20u);
}

TEST_F(VirtioVsock, ACreditRequestIsAnswered) {
  start();
  connect();
  send_data("12345");
  send(VsockOp::kCreditRequest);
  const Received update = take();
  EXPECT_EQ(update.op(), VsockOp::kCreditUpdate);
  EXPECT_EQ(update.header.forwarded, 5u);
}

TEST_F(VirtioVsock, TheGuestHearsWhenHalfOfTheRoomIsThereAgain) {
  start();
  connect();
  const std::string piece(32 << 10, 'a');
  send_data(piece);
  EXPECT_TRUE(nothing());
  send_data(piece);
  const Received update = take();
  EXPECT_EQ(update.op(), VsockOp::kCreditUpdate);
  EXPECT_EQ(update.header.forwarded, 64u << 10);
}

// The host reads nothing: its socket fills, then the room here does. What comes then was never allowed.
TEST_F(VirtioVsock, AGuestThatSendsBeyondItsCreditIsReset) {
  start();
  connect();
  const std::string piece(32 << 10, 'a');
  unsigned sent = 0;
  VsockOp op{};
  u32 told = 0;
  for (; op != VsockOp::kReset && sent < 100; ++sent) {
    send_data(piece);
    for (Received packet = take(); packet.op() != VsockOp{}; packet = take()) {
      op = packet.op();
      told = packet.header.forwarded;
    }
    give(1);
  }
  EXPECT_LT(sent, 100u);
  EXPECT_GE(sent * piece.size(), VsockConnection::kBuffer + told);
  EXPECT_LE(host_reads_all().size(), sent * piece.size());
}

TEST_F(VirtioVsock, WhatTheHostDoesNotTakeWaits) {
  start();
  connect();
  std::string all;
  for (char c = 'a'; c < 'a' + 10; ++c) {
    const std::string piece(30'000, c);
    send_data(piece);
    all += piece;
  }
  send_shutdown(virtio::kWillNotSend);
  std::string got;
  for (unsigned n = 0; n < 100 && got.size() < all.size(); ++n) {
    got += host_reads_all();
    vsock->resume();
  }
  EXPECT_TRUE(got == all) << got.size() << " of " << all.size();
  EXPECT_EQ(host_reads(), "(end)");
}

TEST_F(VirtioVsock, EachDirectionEndsByItself) {
  start();
  connect();
  send_shutdown(virtio::kWillNotSend);
  EXPECT_EQ(host_reads(), "(end)");
  host_sends("still heard");
  EXPECT_EQ(take().data, "still heard");
  send_data("not allowed");
  EXPECT_EQ(take().op(), VsockOp::kReset);
}

TEST_F(VirtioVsock, AHostThatHasSentItsLastMayStillReceive) {
  start();
  connect();
  host_sends("last");
  ASSERT_EQ(::shutdown(host->peer.get(), SHUT_WR), 0);
  vsock->resume();
  EXPECT_EQ(take().data, "last");
  const Received end = take();
  EXPECT_EQ(end.op(), VsockOp::kShutdown);
  EXPECT_EQ(end.header.flags, virtio::kWillNotSend);
  send_data("heard");
  EXPECT_EQ(host_reads(), "heard");
  host_leaves();
  const Received gone = take();
  EXPECT_EQ(gone.op(), VsockOp::kShutdown);
  EXPECT_EQ(gone.header.flags, virtio::kWillNotSend | virtio::kWillNotReceive);
}

TEST_F(VirtioVsock, WhatAHostSentBeforeItLeftArrives) {
  start();
  connect();
  host_sends("");
  EXPECT_EQ(::send(host->peer.get(), "bye", 3, 0), 3);
  host_leaves();
  EXPECT_EQ(take().data, "bye");
  const Received gone = take();
  EXPECT_EQ(gone.op(), VsockOp::kShutdown);
  EXPECT_EQ(gone.header.flags, virtio::kWillNotSend | virtio::kWillNotReceive);
  send_data("too late, but no fault of the guest's");
  EXPECT_TRUE(nothing());
  send(VsockOp::kReset);
  send(VsockOp::kCreditUpdate);
  EXPECT_EQ(take().op(), VsockOp::kReset);  // it is gone
}

TEST_F(VirtioVsock, AGuestThatEndsBothIsConfirmed) {
  start();
  connect();
  send_data("before");
  send_shutdown(virtio::kWillNotSend | virtio::kWillNotReceive);
  EXPECT_EQ(take().op(), VsockOp::kReset);
  EXPECT_TRUE(nothing());
  EXPECT_EQ(host_reads(), "before");
  EXPECT_EQ(host_reads(), "(end)");
}

TEST_F(VirtioVsock, WhatAGuestSentBeforeItEndedArrives) {
  start();
  connect();
  std::string all;
  for (char c = 'a'; c < 'a' + 10; ++c) {
    const std::string piece(32 << 10, c);
    send_data(piece);
    all += piece;
  }
  send_shutdown(virtio::kWillNotSend | virtio::kWillNotReceive);
  std::string got;
  for (unsigned n = 0; n < 20; ++n) {
    got += host_reads_all();
    vsock->resume();
  }
  EXPECT_TRUE(got == all) << got.size() << " of " << all.size();
  EXPECT_EQ(host_reads(), "(end)");
}

TEST_F(VirtioVsock, PacketsForNobodyAreReset) {
  start();
  send_data("x");
  EXPECT_EQ(take().op(), VsockOp::kReset);
  VsockHeader header = packet(VsockOp::kRequest);
  header.type = 2;
  send(header);
  const Received other = take();
  EXPECT_EQ(other.op(), VsockOp::kReset);
  EXPECT_EQ(other.header.type, 2);
  header = packet(VsockOp::kRequest);
  header.target_cid = 9;
  send(header);
  EXPECT_EQ(take().header.source_cid, 9u);
  header = packet(VsockOp::kRequest);
  header.source_cid = 9;
  send(header);
  send(VsockOp::kReset);
  EXPECT_TRUE(nothing());
}

TEST_F(VirtioVsock, AConnectionIsNotCalledTwice) {
  start();
  connect();
  send(VsockOp::kRequest);
  EXPECT_EQ(take().op(), VsockOp::kReset);
  EXPECT_EQ(host_reads(), "(end)");
}

TEST_F(VirtioVsock, AnswersWaitForBuffers) {
  start(1);
  connect();
  host_sends("hello");
  send_data("to the host meanwhile");
  EXPECT_EQ(host_reads(), "to the host meanwhile");
  EXPECT_TRUE(nothing());
  give(1);
  vsock->resume();
  EXPECT_EQ(take().data, "hello");
}

// A guest that asks for resets and takes none.
TEST_F(VirtioVsock, WhatIsOwedToTheGuestIsBounded) {
  start(0);
  for (unsigned n = 0; n < 270; ++n) send(packet(VsockOp::kData, n));
  EXPECT_EQ(out.used_index(), 256);
  EXPECT_EQ(vsock->status() & virtio::kNeedsReset, 0);
  for (unsigned n = 0; n < 9; ++n) {
    give(16);
    vsock->resume();
  }
  EXPECT_EQ(out.used_index(), 270);
}

TEST_F(VirtioVsock, ConnectionsAreBounded) {
  start(0);
  for (unsigned n = 0; n < virtio::Vsock::kMaxConnections; ++n) send(packet(VsockOp::kRequest, n));
  EXPECT_TRUE(static_cast<bool>(host->peer));
  host->peer = FileDescriptor();
  send(packet(VsockOp::kRequest, 9999));
  EXPECT_FALSE(static_cast<bool>(host->peer));
}

TEST_F(VirtioVsock, AReceiveBufferWithoutRoomEndsIt) {
  start(0);
  in.add({{kIn, 44, true}});
  send(VsockOp::kRequest);
  EXPECT_NE(vsock->status() & virtio::kNeedsReset, 0);
}

TEST_F(VirtioVsock, APacketLongerThanItsBuffersEndsIt) {
  start();
  VsockHeader header = packet(VsockOp::kData);
  header.length = 6;
  send(header, "12345");
  EXPECT_NE(vsock->status() & virtio::kNeedsReset, 0);
}

TEST_F(VirtioVsock, AReceiveBufferThatWaitsIsSavedAsNotTaken) {
  start();
  connect();
  send_data("x");  // the line is looked at, with a buffer in hand
  const auto state = saved();
  EXPECT_EQ(state.virtio.queues[0].next_available, state.virtio.queues[0].next_used);
}

TEST_F(VirtioVsock, ARestoredDriverHearsThatItsConnectionsAreGone) {
  start();
  events.add({{kEvents, 4, true}});
  events.put<u32>(kEvents, 0xffffffff);
  connect();
  const auto state = saved();
  EXPECT_EQ(events.used_index(), 0);

  make(state);
  EXPECT_EQ(events.used_index(), 0);
  vsock->resume();

  EXPECT_EQ(events.used_index(), 1);
  EXPECT_EQ(events.used_length(0), 4u);
  EXPECT_EQ(events.get<u32>(kEvents), 0u);
  send_data("of an old connection");
  EXPECT_EQ(take().op(), VsockOp::kReset);
  send(VsockOp::kRequest);
  EXPECT_EQ(take().op(), VsockOp::kResponse);
}

}  // namespace
}  // namespace vellum
