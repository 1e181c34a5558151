#include "devices/virtio/vsock.hpp"

#include <algorithm>
#include <bit>

namespace vellum::virtio {
namespace {

constexpr u64 kStream = 1 << 0;  ///< VIRTIO_VSOCK_F_STREAM (§5.10.3)
constexpr unsigned kReceiveQueue = 0, kTransmitQueue = 1, kEventQueue = 2;
constexpr u16 kDeviceType = 19;
constexpr u32 kClass = 0x078000;    ///< a communication device of no other kind
constexpr u32 kTransportReset = 0;  ///< VIRTIO_VSOCK_EVENT_TRANSPORT_RESET
constexpr std::size_t kMostResets = 256;
constexpr std::size_t kPiece = 64 << 10;  ///< of a stream, at once
/// Ports of callers on the host, as in Firecracker: from here on, then around.
constexpr u32 kFirstHostPort = u32{1} << 30;

}  // namespace

Vsock::Vsock(const IoContext& context, std::shared_ptr<VsockHost> host, u64 cid, const State& state)
    : Device(context,
             {kDeviceType, kClass, "virtio-vsock", kStream, {kQueueSize, kQueueSize, kEventQueueSize}},
             state.virtio),
      host_(std::move(host)),
      cid_(cid),
      bytes_(kPiece),
      next_host_port_(kFirstHostPort) {
  if ((state.virtio.status & kDriverOk) == 0) return;
  // RAM has not got its contents yet: resume() says when. Then the driver hears that its connections are
  // gone.
  paused_ = true;
  tell_reset_ = true;
  ended_ = (state.virtio.status & kNeedsReset) != 0;
}

Vsock::~Vsock() {
  host_->listen({});
}

std::vector<u8> Vsock::config() const {
  const auto bytes = std::bit_cast<std::array<u8, sizeof cid_>>(cid_);
  return {bytes.begin(), bytes.end()};
}

void Vsock::activated() {
  auto poll = SocketPoll::create(*context().loop,
                                 [this](u64 key, SocketPoll::Ready ready) { socket_ready(key, ready); });
  if (!poll) return end(poll.error().message);
  poll_ = std::move(*poll);
  host_->listen([this](FileDescriptor socket, u32 port) { called_by_host(std::move(socket), port); });
}

void Vsock::stop() {
  host_->listen({});
  connections_.clear();
  by_key_.clear();
  line_.clear();
  resets_.clear();
  buffer_.reset();
  poll_.reset();
  packets_wait_ = false;
  tell_reset_ = false;
  ended_ = false;
}

void Vsock::end(const std::string& why) {
  ended_ = true;
  needs_reset(why);
}

void Vsock::resume() {
  paused_ = false;
  // A queue may have been taken back meanwhile.
  if (queue(kReceiveQueue) == nullptr) buffer_.reset();
  if (poll_) poll_->look();
  Device::resume();
}

void Vsock::process(unsigned index) {
  if (halted()) return;
  if (index == kReceiveQueue) send_packets();
  if (index == kTransmitQueue) take_packets();
  if (index == kEventQueue) tell_events();
}

// From the guest.

void Vsock::take_packets() {
  Queue* const q = queue(kTransmitQueue);
  if (q == nullptr || halted()) return;
  q->disable_notifications();
  Chain chain;
  bool pushed = false, good = true;
  // No more than the ring has: a driver that refills it as fast must not keep the loop.
  for (unsigned taken = 0; good && taken < q->state().size; ++taken) {
    // §5.10.6.1.1: what answers need is bounded, and so waits for the guest's buffers.
    packets_wait_ = resets_.size() >= kMostResets;
    if (packets_wait_ || !q->pop(chain)) break;
    good = take_packet(chain);
    q->push(chain, 0);
    pushed = true;
  }
  if (pushed) interrupt_if_wanted(kTransmitQueue);
  check(kTransmitQueue);
  send_packets();
  if (!packets_wait_ && q->enable_notifications()) look_again(kTransmitQueue);
}

// False: the device has ended.
bool Vsock::take_packet(const Chain& chain) {
  std::array<u8, VsockHeader::kSize> bytes;
  // GUEST-CONTROLLED: the header. Of its own buffers a driver knows the size.
  if (read_chain(chain, 0, bytes) != bytes.size()) return end("a packet without a header"), false;
  const VsockHeader header = VsockHeader::decode(bytes);
  if (header.length > chain.readable_size() - VsockHeader::kSize)
    return end("a packet that is longer than its buffers"), false;
  if (header.source_cid != cid_) return true;  // nobody that there is
  const auto found = connections_.find({header.source_port, header.target_port});
  if (header.target_cid != kHostCid || header.type != kStreamType) {
    refuse(header);
  } else if (found != connections_.end()) {
    const Connection connection = found->second;
    if (!to_connection(header, chain, *connection)) reset(*connection);
    if (knows(connection)) line_up(connection);
  } else if (static_cast<VsockOp>(header.op) == VsockOp::kRequest) {
    called_by_guest(header);
  } else {
    refuse(header);
  }
  return true;
}

void Vsock::called_by_guest(const VsockHeader& header) {
  FileDescriptor socket;
  if (by_key_.size() < kMaxConnections) socket = host_->connect(header.target_port);
  const Ports ports{header.source_port, header.target_port};
  const Connection connection = socket ? add(std::move(socket), ports, true) : nullptr;
  if (!connection) {
    refused_.add();
    return refuse(header);
  }
  connection->take_credit(header);
  line_up(connection);
}

// False: the connection is to be reset.
bool Vsock::to_connection(const VsockHeader& header, const Chain& chain, VsockConnection& connection) {
  const Ports ports{connection.guest_port(), connection.host_port()};
  connection.take_credit(header);
  switch (static_cast<VsockOp>(header.op)) {
    case VsockOp::kReset:
      drop(ports, false);
      return true;
    case VsockOp::kResponse:
      return connection.answered();
    case VsockOp::kData:
      return take_data(header, chain, connection);
    case VsockOp::kShutdown:
      if (!connection.take_shutdown(header.flags)) return false;
      if (!connection.finished()) return true;
      // §5.10.6.6.1: both have ended in good order, which a reset confirms. What was sent before still
      // arrives.
      refuse(header);
      drop(ports, true);
      return true;
    case VsockOp::kCreditRequest:
      connection.ask_credit();
      return true;
    case VsockOp::kCreditUpdate:
      return true;
    default:
      return false;  // one that is called twice, or knows more operations
  }
}

bool Vsock::take_data(const VsockHeader& header, const Chain& chain, VsockConnection& connection) {
  for (u64 done = 0; done < header.length;) {
    const auto piece = std::span(bytes_).first(std::min<u64>(bytes_.size(), header.length - done));
    if (read_chain(chain, VsockHeader::kSize + done, piece) != piece.size() || !connection.take_data(piece))
      return false;
    done += piece.size();
  }
  bytes_from_guest_.add(header.length);
  return true;
}

// Connections.

Vsock::Connection Vsock::add(FileDescriptor socket, Ports ports, bool called) {
  const u64 key = next_key_++;
  auto connection =
      std::make_shared<VsockConnection>(std::move(socket), key, ports.guest, ports.host, called);
  if (!poll_->add(connection->socket(), key)) return nullptr;
  connections_.emplace(ports, connection);
  by_key_.emplace(key, connection);
  opened_.add();
  return connection;
}

void Vsock::called_by_host(FileDescriptor socket, u32 port) {
  if (halted() || by_key_.size() >= kMaxConnections) return refused_.add();
  while (connections_.contains({port, next_host_port_}))
    next_host_port_ = std::max(next_host_port_ + 1, kFirstHostPort);
  const Connection connection = add(std::move(socket), {port, next_host_port_}, false);
  next_host_port_ = std::max(next_host_port_ + 1, kFirstHostPort);
  if (!connection) return;
  line_up(connection);
  send_packets();
}

bool Vsock::knows(const Connection& connection) const {
  const auto found = connections_.find({connection->guest_port(), connection->host_port()});
  return found != connections_.end() && found->second == connection;
}

void Vsock::drop(const Ports& ports, bool keep_backlog) {
  const auto found = connections_.find(ports);
  if (found == connections_.end()) return;
  const Connection connection = found->second;
  connections_.erase(found);
  // A guest that calls and hangs up, and takes no packets, must not make the line long.
  if (connection->set_in_line(false)) std::erase(line_, connection);
  if (!keep_backlog || !connection->has_backlog()) by_key_.erase(connection->key());
}

void Vsock::socket_ready(u64 key, SocketPoll::Ready ready) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  const Connection connection = found->second;
  connection->ready(ready.readable, ready.writable, ready.hung_up);
  if (!knows(connection)) {  // the guest is done with it
    if (!connection->has_backlog()) by_key_.erase(key);
    return;
  }
  if (ready.hung_up && !connection->is_open()) {  // a caller that waits no longer
    reset(*connection);
  } else {
    line_up(connection);
  }
  if (!halted()) send_packets();
}

// To the guest.

void Vsock::refuse(const VsockHeader& header) {
  if (static_cast<VsockOp>(header.op) == VsockOp::kReset) return;
  VsockHeader answer;
  answer.source_cid = header.target_cid;
  answer.source_port = header.target_port;
  answer.target_port = header.source_port;
  answer.type = header.type;
  answer.op = static_cast<u16>(VsockOp::kReset);
  resets_.push_back(answer);
}

void Vsock::reset(VsockConnection& connection) {
  VsockHeader answer;
  answer.source_cid = kHostCid;
  answer.source_port = connection.host_port();
  answer.target_port = connection.guest_port();
  answer.op = static_cast<u16>(VsockOp::kReset);
  resets_.push_back(answer);
  drop({connection.guest_port(), connection.host_port()}, false);
}

void Vsock::line_up(const Connection& connection) {
  if (!connection->set_in_line(true)) line_.push_back(connection);
}

void Vsock::send_packets() {
  Queue* const q = queue(kReceiveQueue);
  if (q == nullptr || halted()) return;
  q->disable_notifications();
  unsigned sent = 0;
  bool starved = false;
  while (sent < q->state().size && !(resets_.empty() && line_.empty())) {
    starved = !take_buffer();
    if (starved) break;
    if (send_next()) ++sent;
  }
  if (sent != 0) interrupt_if_wanted(kReceiveQueue);
  if (halted()) return;
  if (packets_wait_ && resets_.size() < kMostResets / 2) look_again(kTransmitQueue);
  const bool more = !starved && !(resets_.empty() && line_.empty());
  if (more || (starved && q->enable_notifications())) look_again(kReceiveQueue);
}

bool Vsock::take_buffer() {
  if (buffer_) return true;
  Queue& q = *queue(kReceiveQueue);
  Buffer next;
  next.before = q.position();
  if (!q.pop(next.chain)) return check(kReceiveQueue), false;
  // GUEST-CONTROLLED: a buffer has room for a header and a byte at least.
  next.room = next.chain.writable_size();
  if (next.room <= VsockHeader::kSize) return end("a receive buffer without room for a packet"), false;
  buffer_ = std::move(next);
  return true;
}

// One packet into the buffer. False: whoever was next in line had none.
bool Vsock::send_next() {
  if (!resets_.empty()) {
    const VsockHeader header = resets_.front();
    resets_.pop_front();
    resets_sent_.add();
    send(header, {});
    return true;
  }
  const Connection connection = line_.front();
  line_.pop_front();
  connection->set_in_line(false);
  const u64 room = std::min<u64>(buffer_->room - VsockHeader::kSize, bytes_.size());
  auto header = connection->next(std::span(bytes_).first(room));
  if (connection->broken()) reset(*connection);
  if (!header) return false;
  header->source_cid = kHostCid;
  send(*header, std::span(bytes_).first(header->length));
  line_up(connection);
  return true;
}

void Vsock::send(const VsockHeader& header, std::span<const u8> data) {
  VsockHeader full = header;
  full.target_cid = cid_;
  write_chain(dma(), buffer_->chain, 0, full.encode());
  write_chain(dma(), buffer_->chain, VsockHeader::kSize, data);
  queue(kReceiveQueue)->push(buffer_->chain, static_cast<u32>(VsockHeader::kSize + data.size()));
  bytes_to_guest_.add(data.size());
  buffer_.reset();
}

// §5.10.6.7.
void Vsock::tell_events() {
  Queue* const q = queue(kEventQueue);
  if (q == nullptr || !tell_reset_) return;
  Chain chain;
  if (!q->pop(chain)) return check(kEventQueue);
  tell_reset_ = false;
  std::array<u8, 4> event{static_cast<u8>(kTransportReset)};
  complete(kEventQueue, chain, static_cast<u32>(write_chain(dma(), chain, 0, event)));
}

SavedState Vsock::save() const {
  State state;
  state.virtio = device_state();
  if (buffer_) buffer_->before.apply(state.virtio.queues[kReceiveQueue]);
  return encode_state(state);
}

void Vsock::stats(std::vector<StatRow>& rows) const {
  Device::stats(rows);
  const auto add = [&](std::string_view name, u64 count) {
    if (count != 0) rows.push_back({kind().name, std::string(name), count, 0});
  };
  add("connections", opened_.get());
  add("connections refused", refused_.get());
  add("resets sent", resets_sent_.get());
  add("bytes to the guest", bytes_to_guest_.get());
  add("bytes from the guest", bytes_from_guest_.get());
}

}  // namespace vellum::virtio
