// virtio-net's control queue (virtio 1.2 §5.1.6.5): class, number, data; then a byte for the answer.
#include "devices/virtio/net.hpp"
#include "devices/virtio/net_features.hpp"

namespace vellum::virtio {
namespace {

using namespace net_feature;

// A command's class and number, then its data: at most two tables of addresses of a generous size.
constexpr u64 kCommandHeader = 2, kMaxCommand = 64 << 10;
constexpr u8 kAck = 0, kNak = 1;
constexpr u8 kReceiveClass = 0, kMacClass = 1, kMultiQueueClass = 4, kOffloadsClass = 5;
constexpr u8 kPairsSet = 0, kOffloadsSet = 0;

}  // namespace

void Net::answer_commands(unsigned index) {
  Queue* const q = queue(index);
  q->disable_notifications();
  Chain chain;
  for (unsigned taken = 0; taken < q->state().size && !needs_reset_ && q->pop(chain); ++taken) {
    if (chain.writable_size() == 0) {
      end("a command without room for its answer");
      break;
    }
    commands_.add();
    const u8 answer = command(chain) ? kAck : kNak;
    write_chain(dma(), chain, 0, {&answer, 1});
    complete(index, chain, 1);
  }
  end_if_broken(index);
  if (!needs_reset_ && q->enable_notifications()) look_again(index);
}

bool Net::command(const Chain& chain) {
  const u64 size = chain.readable_size();
  if (size < kCommandHeader || size > kMaxCommand) return false;
  // GUEST-CONTROLLED: all of it, from here on in a copy.
  std::vector<u8> bytes(size);
  read_chain(chain, 0, bytes);
  const u8 kind = bytes[0], number = bytes[1];
  const auto data = std::span<const u8>(bytes).subspan(kCommandHeader);
  switch (kind) {
    case kReceiveClass:
      return negotiated(number < 2 ? kReceiveModes : kMoreReceiveModes) && filter_.mode_command(number, data);
    case kMacClass: {
      if (!negotiated(number == 0 ? kReceiveModes : kSetMac)) return false;
      std::scoped_lock lock(mutex_);
      return filter_.mac_command(number, data);
    }
    case kMultiQueueClass:
      return negotiated(kMultiQueue) && number == kPairsSet && set_pairs(data);
    case kOffloadsClass:
      return negotiated(kGuestOffloads) && number == kOffloadsSet && set_offloads(data);
    default:
      return false;
  }
}

bool Net::set_pairs(std::span<const u8> data) {
  if (data.size() != 2) return false;
  const unsigned pairs = data[0] | data[1] << 8;
  if (pairs < 1 || pairs > max_pairs_) return false;
  pairs_ = pairs;
  for (unsigned pair = 0; pair < pairs_; ++pair) refill(pair);
  network_->receiver_ready();
  return true;
}

bool Net::set_offloads(std::span<const u8> data) {
  if (data.size() != 8) return false;
  u64 offloads = 0;
  for (unsigned i = 0; i < 8; ++i) offloads |= u64{data[i]} << (8 * i);
  if ((offloads & ~(kAllGuestOffloads & negotiated_features())) != 0) return false;
  guest_offloads_ = offloads;
  for (unsigned pair = 0; pair < pairs_; ++pair) refill(pair);
  network_->receiver_ready();
  return true;
}

}  // namespace vellum::virtio
