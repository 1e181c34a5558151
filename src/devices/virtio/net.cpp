#include "devices/virtio/net.hpp"

#include <algorithm>
#include <cstring>

#include "devices/virtio/net_features.hpp"
#include "io/net/flow.hpp"
#include "io/net/vnet_header.hpp"

namespace vellum::virtio {
namespace {

using namespace net_feature;
using net::Offloads;

constexpr u16 kLinkUp = 1;
// struct virtio_net_hdr and the count of buffers (§5.1.6).
constexpr u64 kMostHeader = 12, kCountAt = 10;
// Room for a frame that is not to be cut: Ethernet's 1518 bytes and a second VLAN tag.
constexpr u64 kPlainFrame = 1522;

u64 features_of(unsigned pairs) {
  return kChecksum | kGuestOffloads | kAllGuestOffloads | kMac | kHostTso4 | kHostTso6 | kHostEcn |
         kMergeable | kStatus | kControl | kReceiveModes | kMoreReceiveModes | kSetMac |
         (pairs > 1 ? kMultiQueue : 0);
}

std::vector<u16> queue_sizes(unsigned pairs) {
  std::vector<u16> sizes(2 * pairs, Net::kQueueSize);
  sizes.push_back(Net::kControlSize);
  return sizes;
}

NetFilterState fresh_filter(const net::MacAddress& mac) {
  NetFilterState state;
  state.mac = mac;
  return state;
}

/// The features by which one side says what it takes.
struct OffloadFeatures {
  u64 checksum, tso4, tso6, ecn;
};
constexpr OffloadFeatures kTheDriverTakes{kGuestChecksum, kGuestTso4, kGuestTso6, kGuestEcn};
constexpr OffloadFeatures kTheDeviceTakes{kChecksum, kHostTso4, kHostTso6, kHostEcn};

Offloads offloads_of(u64 features, const OffloadFeatures& of) {
  if ((features & of.checksum) == 0) return Offloads::kNone;
  Offloads all = Offloads::kChecksum;
  if ((features & of.tso4) != 0) all = all | Offloads::kTso4;
  if ((features & of.tso6) != 0) all = all | Offloads::kTso6;
  if ((features & of.ecn) != 0) all = all | Offloads::kEcn;
  return all;
}

}  // namespace

Net::Net(const IoContext& context, std::shared_ptr<net::Network> network, const net::MacAddress& mac,
         unsigned pairs, const State& state)
    : Device(context, {1, 0x020000, "virtio-net", features_of(pairs), queue_sizes(pairs)}, state.virtio),
      network_(std::move(network)),
      own_mac_(mac),
      max_pairs_(pairs),
      filter_(fresh_filter(mac)),
      receive_(pairs) {
  if ((state.virtio.status & kDriverOk) == 0) return;
  // RAM has not got its contents yet: resume() says when.
  paused_ = true;
  filter_ = NetFilter(state.filter);
  guest_offloads_ = state.guest_offloads & state.virtio.driver_features & kAllGuestOffloads;
  pairs_ = std::clamp<unsigned>(state.pairs, 1, max_pairs_);
  needs_reset_ = (state.virtio.status & kNeedsReset) != 0;
}

Net::~Net() {
  network_->connect(nullptr);
}

std::vector<u8> Net::config() const {
  const net::MacAddress& mac = filter_.state().mac;
  std::vector<u8> bytes(mac.begin(), mac.end());
  const u16 status = network_->link_up() ? kLinkUp : 0;
  bytes.push_back(static_cast<u8>(status));
  bytes.push_back(0);
  bytes.push_back(static_cast<u8>(max_pairs_));
  bytes.push_back(0);
  return bytes;
}

void Net::activated() {
  // A fresh start, unless it is a restored device's first.
  if (!paused_) guest_offloads_ = kAllGuestOffloads & negotiated_features();
  network_->connect(this);
  // Buffers may have been there before the driver was ready.
  if (!paused_) process(0);
}

void Net::stop() {
  network_->connect(nullptr);
  for (Pair& pair : receive_) pair = Pair();
  flows_.fill(0);
  guest_offloads_ = 0;
  pairs_ = 1;
  needs_reset_ = false;
  std::scoped_lock lock(mutex_);
  filter_ = NetFilter(fresh_filter(own_mac_));
}

void Net::resume() {
  paused_ = false;
  Device::resume();
  if (running()) network_->receiver_ready();
}

bool Net::is_control(unsigned queue) const {
  return negotiated(kControl) && queue == control_index();
}

unsigned Net::control_index() const {
  return negotiated(kMultiQueue) ? 2 * max_pairs_ : 2;
}

void Net::end(const std::string& why) {
  needs_reset_ = true;
  needs_reset(why);
}

void Net::end_if_broken(unsigned index) {
  const Queue* const q = queue(index);
  if (q == nullptr || !q->broken()) return;
  needs_reset_ = true;
  check(index);
}

void Net::process(unsigned index) {
  if (halted() || queue(index) == nullptr) return;
  if (is_control(index)) return answer_commands(index);
  if (index / 2 >= max_pairs_) return;
  if (index % 2 == 1) return send_frames(index / 2);
  refill(index / 2);
  if (awaited_ && has_room()) {
    awaited_ = false;
    network_->receiver_ready();
  }
}

// From the guest.

void Net::send_frames(unsigned pair) {
  const unsigned index = 2 * pair + 1;
  Queue* const q = queue(index);
  q->disable_notifications();
  Chain chain;
  unsigned taken = 0;
  for (; taken < q->state().size && !needs_reset_ && q->pop(chain); ++taken) {
    send(pair, chain);
    const UsedChain used{&chain, 0};
    q->push({&used, 1});
  }
  if (taken != 0) interrupt_if_wanted(index);
  end_if_broken(index);
  if (!needs_reset_ && q->enable_notifications()) look_again(index);
}

void Net::send(unsigned pair, const Chain& chain) {
  std::array<u8, kMostHeader> bytes{};
  // GUEST-CONTROLLED: the header, read once, and the frame's size.
  if (read_chain(chain, 0, std::span(bytes).first(header_size())) != header_size())
    return end("a frame without a header");
  net::VnetHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  const u64 size = chain.readable_size() - header_size();
  net::Frame frame;
  const bool sound = size <= net::kMaxFrame && net::from_vnet_header(header, size, frame.offload) &&
                     !any(net::needed(frame.offload) & ~offloads_of(negotiated_features(), kTheDeviceTakes));
  if (!sound) {
    malformed_.add();
    return;
  }
  // What the driver says of checksums that it did compute is no more than its word.
  frame.offload.checksum_valid = false;
  pieces_.clear();
  u64 skip = header_size();
  for (const Buffer& buffer : chain.readable) {
    const u64 from = std::min<u64>(skip, buffer.host.size());
    skip -= from;
    if (from < buffer.host.size()) pieces_.push_back({buffer.host.data() + from, buffer.host.size() - from});
  }
  frame.pieces = pieces_;
  if (pairs_ > 1) flows_[net::flow_of(pieces_)] = static_cast<u8>(pair);
  sent_.add();
  network_->put(frame);
}

// To the guest.

net::Offloads Net::understands() const {
  return offloads_of(guest_offloads_, kTheDriverTakes);
}

// §5.1.6.1: a legacy driver has the count only if buffers are merged.
u64 Net::header_size() const {
  return legacy() && !negotiated(kMergeable) ? kCountAt : kMostHeader;
}

u64 Net::wanted_bytes() const {
  // Without mergeable buffers a frame has one, whatever its size is.
  if (!negotiated(kMergeable)) return 1;
  const bool uncut = (guest_offloads_ & (kGuestTso4 | kGuestTso6)) != 0;
  return header_size() + (uncut ? net::kMaxFrame : kPlainFrame);
}

bool Net::pair_has_room(unsigned pair) const {
  const Pair& p = receive_[pair];
  if (p.ready_bytes >= wanted_bytes()) return true;
  // A ring so small that half of it does not hold the largest frame.
  const Queue* const q = queue(2 * pair);
  return q != nullptr && !p.ready.empty() && p.ready.size() >= q->state().size / 2u;
}

bool Net::has_room() const {
  if (!halted()) {
    bool room = true;
    for (unsigned pair = 0; pair < pairs_; ++pair) room = room && pair_has_room(pair);
    if (room) return true;
  }
  awaited_ = true;
  return false;
}

bool Net::take_buffer(unsigned pair) {
  Queue* const q = queue(2 * pair);
  Pair& p = receive_[pair];
  if (q == nullptr || needs_reset_ || p.ready.size() >= q->state().size) return false;
  Ready ready;
  if (!spare_.empty()) {
    ready.chain = std::move(spare_.back());
    spare_.pop_back();
  }
  ready.before = q->position();
  if (!q->pop(ready.chain)) {
    spare_.push_back(std::move(ready.chain));
    end_if_broken(2 * pair);
    return false;
  }
  ready.size = ready.chain.writable_size();
  // §5.1.6.3.1: buffers hold a header at least, and only the device writes to them.
  if (ready.size < header_size() || !ready.chain.readable.empty()) {
    end(fmt::format("a receive buffer of {} bytes", ready.size));
    return false;
  }
  p.ready_bytes += ready.size;
  p.ready.push_back(std::move(ready));
  return true;
}

void Net::drop_buffer(Pair& pair) {
  pair.ready_bytes -= pair.ready.front().size;
  spare_.push_back(std::move(pair.ready.front().chain));
  pair.ready.pop_front();
}

void Net::refill(unsigned pair) {
  Queue* const q = queue(2 * pair);
  if (q == nullptr) return;
  constexpr unsigned kMostFutile = 16;
  for (unsigned futile = 0; futile < kMostFutile; ++futile) {
    while (!pair_has_room(pair) && take_buffer(pair)) futile = 0;
    if (needs_reset_) return;
    if (pair_has_room(pair)) return q->disable_notifications();
    if (!q->enable_notifications()) return;
  }
  // GUEST-CONTROLLED: the device's own stores lie on the index that says what there is.
  end("a receive ring that announces buffers and has none");
}

unsigned Net::pair_of(const net::Frame& frame) const {
  if (pairs_ == 1) return 0;
  const unsigned pair = flows_[net::flow_of(frame.pieces)];
  return pair < pairs_ ? pair : 0;
}

void Net::take(const net::Frame& frame) {
  if (halted()) return;
  net::MacAddress to{};
  net::copy_head(frame.pieces, to);
  if (!filter_.accepts(to)) {
    filtered_.add();
    return;
  }
  const unsigned index = pair_of(frame);
  Pair& pair = receive_[index];
  Queue* const q = queue(2 * index);
  const u64 size = header_size() + net::frame_size(frame.pieces);
  const bool mergeable = negotiated(kMergeable);
  if (pair.ready.empty()) take_buffer(index);
  while (mergeable && pair.ready_bytes < size && take_buffer(index)) {
  }
  if (q == nullptr || pair.ready.empty() || (mergeable ? pair.ready_bytes : pair.ready[0].size) < size) {
    no_buffers_.add();
    if (!needs_reset_) refill(index);
    return;
  }
  std::size_t count = 0;
  for (u64 room = 0; room < size; ++count) room += pair.ready[count].size;

  std::array<u8, kMostHeader> header{};
  net::FrameOffload offload = frame.offload;
  // §5.1.6.4.1: a driver without GUEST_CSUM gets no flags at all.
  if ((guest_offloads_ & kGuestChecksum) == 0) offload.checksum_valid = false;
  const net::VnetHeader fields = net::to_vnet_header(offload);
  std::memcpy(header.data(), &fields, sizeof fields);
  header[kCountAt] = static_cast<u8>(count);
  header[kCountAt + 1] = static_cast<u8>(count >> 8);

  std::size_t at = 0;
  u64 offset = 0;
  const auto put = [&](std::span<const u8> bytes) {
    while (!bytes.empty()) {
      const u64 done = write_chain(dma(), pair.ready[at].chain, offset, bytes);
      bytes = bytes.subspan(done);
      offset += done;
      if (offset < pair.ready[at].size) continue;
      ++at;
      offset = 0;
    }
  };
  put(std::span(header).first(header_size()));
  for (const iovec& piece : frame.pieces) put({static_cast<const u8*>(piece.iov_base), piece.iov_len});

  used_.clear();
  u64 left = size;
  for (std::size_t n = 0; n < count; ++n) {
    const u64 here = std::min(left, pair.ready[n].size);
    used_.push_back({&pair.ready[n].chain, static_cast<u32>(here)});
    left -= here;
  }
  // All of them in one go: a driver takes the first as the sign that the others are there.
  q->push(used_);
  received_.add();
  for (std::size_t n = 0; n < count; ++n) drop_buffer(pair);
  interrupt_if_wanted(2 * index);
  refill(index);
}

SavedState Net::save() const {
  State state;
  state.virtio = device_state();
  for (unsigned pair = 0; pair < max_pairs_; ++pair)
    if (!receive_[pair].ready.empty())
      receive_[pair].ready.front().before.apply(state.virtio.queues[2 * pair]);
  state.filter = filter_.state();
  state.guest_offloads = guest_offloads_;
  state.pairs = static_cast<u16>(pairs_);
  return encode_state(state);
}

void Net::stats(std::vector<StatRow>& rows) const {
  Device::stats(rows);
  const std::string& name = kind().name;
  const auto row = [&](const char* what, const SharedCounter& counter) {
    if (counter.get() != 0) rows.push_back({name, what, counter.get(), 0});
  };
  row("frames sent", sent_);
  row("frames received", received_);
  row("frames that the driver's filter refused", filtered_);
  row("frames without a receive buffer", no_buffers_);
  row("frames with an impossible header", malformed_);
  row("commands", commands_);
}

}  // namespace vellum::virtio
