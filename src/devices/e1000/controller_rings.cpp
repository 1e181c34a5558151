// The controller's work on the event loop: descriptors to frames and back.
#include "base/bits.hpp"
#include "devices/e1000/controller.hpp"
#include "devices/e1000/receiver.hpp"

namespace vellum::e1000 {
namespace {

// What one turn on the loop takes before others get theirs.
constexpr unsigned kMostDescriptors = 128;
constexpr u64 kMostBytes = 1 << 20;
constexpr u64 kMostFrames = 128;  // as they are on the wire
// What one store of the driver's is good for while the vCPU waits: a ring of 32,768 descriptors, or 256 MiB.
constexpr unsigned kMostTurns = 256;

u64 headers_of(const Outgoing& frame) {
  const std::size_t transport = frame.offload.checksum_start;
  return transport + std::size_t{frame.bytes[transport + 12]} / 16 * 4;
}

// Before the last one, which may be shorter, if others are to cut it.
u64 full_pieces(const Outgoing& frame) {
  if (frame.offload.gso == net::Gso::kNone) return 0;
  return (frame.bytes.size() - headers_of(frame) - 1) / frame.offload.gso_size;
}

}  // namespace

// To the network.

void Controller::transmit() {
  if (paused_) return;
  bool more = transmit_turn();
  if (!context_.synchronous) {
    if (more) bells_.ring(kTransmitBell);
    return;
  }
  // GUEST-CONTROLLED: nobody else gets the loop meanwhile. What is left waits for the next store to the tail.
  for (unsigned turn = 1; more && turn < kMostTurns; ++turn) more = transmit_turn();
}

bool Controller::transmit_turn() {
  bool more = false, loops = false;
  {
    std::scoped_lock lock(mutex_);
    u32 causes = 0;
    more = fetch(causes);
    loops = registers_.has(kRctl, kLoopbackMask) || phy_.loopback();
    for (const Outgoing& frame : outgoing_.frames()) count_sent(frame);
    const TxCounts counts = transmitter_.take_counts();
    malformed_.add(counts.malformed);
    bad_fcs_.add(counts.bad_fcs);
    if (causes != 0) interrupts_.raise(causes);
  }
  for (const Outgoing& frame : outgoing_.frames()) {
    const iovec piece{const_cast<u8*>(frame.bytes.data()), frame.bytes.size()};  // sinks do not write to it
    const net::Frame sent{frame.offload, {&piece, 1}};
    loops ? put(sent) : network_->put(sent);
  }
  outgoing_.clear();
  return more;
}

bool Controller::fetch(u32& causes) {
  const DmaView ram = dma();
  const TxSettings settings{registers_.has(kCtrl, kVlanMode), registers_.has(kTctl, kPadShort),
                            static_cast<u16>(registers_.get(kVet))};
  const u32 low = 8 * (registers_.get(kTxdctl) >> 25);
  u64 bytes = 0, frames = 0;
  for (unsigned n = 0; n < kMostDescriptors && bytes < kMostBytes && frames < kMostFrames; ++n) {
    // GUEST-CONTROLLED: the ring. One that is not in RAM stands still until the driver does something.
    Ring ring(registers_, kTdbal);
    const u32 before = ring.available();
    std::array<u8, kDescriptorSize> raw{};
    if (before == 0 || !registers_.has(kTctl, kTxEnable) || !ram.read(ring.descriptor(), raw)) return false;
    TxDescriptor descriptor;
    std::memcpy(&descriptor.first, raw.data(), 8);
    std::memcpy(&descriptor.second, raw.data() + 8, 8);
    const std::size_t ready = outgoing_.frames().size();
    transmitter_.take(descriptor, ram, settings, outgoing_);
    for (const Outgoing& frame : outgoing_.frames().subspan(ready)) frames += 1 + full_pieces(frame);
    if (!descriptor.is_context()) bytes += descriptor.length();
    if ((descriptor.command() & kReportStatus) != 0) {
      const auto status = static_cast<u32>(descriptor.second >> 32) | kDone;
      store_in(ram, ring.descriptor() + 12, status);
      causes |= kTxDescriptorWritten;
    }
    ring.advance();
    registers_.put(kTdh, ring.head());
    if (before == 1) causes |= kTxQueueEmpty;
    if (low != 0 && before == low + 1) causes |= kTxDescriptorsLow;
  }
  return true;
}

// As the card would have cut them, whoever does it.
void Controller::count_sent(const Outgoing& frame) {
  const std::span<const u8> bytes = frame.bytes;
  u64 size = bytes.size() + kFcsSize, total = size;
  u32 frames = 1;
  if (frame.offload.gso != net::Gso::kNone) {
    const u64 headers = headers_of(frame), payload = bytes.size() - headers, full = full_pieces(frame);
    count_size(registers_, kPtc64, headers + frame.offload.gso_size + kFcsSize, static_cast<u32>(full));
    frames += static_cast<u32>(full);
    total += full * (headers + kFcsSize);
    size = headers + payload - full * frame.offload.gso_size + kFcsSize;
    registers_.count(kTsctc);
  }
  count_size(registers_, kPtc64, size);
  registers_.count(kGptc, frames);
  registers_.count(kTpt, frames);
  registers_.count_wide(kGotcl, total);
  registers_.count_wide(kTotl, total);
  net::MacAddress to{};
  std::copy_n(bytes.begin(), to.size(), to.begin());
  if (net::is_group(to)) registers_.count(to == net::kBroadcast ? kBptc : kMptc, frames);
  sent_.add();
}

// From the network.

void Controller::listen() {
  if (paused_) return;
  bool wanted = false, room = false;
  {
    std::scoped_lock lock(mutex_);
    wanted = registers_.has(kRctl, kRxEnable) && link();
    room = awaited_ && dma().enabled() && rx_has_room(registers_);
    if (room) awaited_ = false;
  }
  const bool changed = wanted != listening_;
  listening_ = wanted;
  if (changed) network_->connect(wanted ? this : nullptr);
  if (wanted && (changed || room)) network_->receiver_ready();
}

bool Controller::has_room() const {
  std::scoped_lock lock(mutex_);
  // A card that does not receive loses what comes, and nobody waits for it.
  if (!paused_ && !registers_.has(kRctl, kRxEnable)) return true;
  if (!paused_ && dma().enabled() && rx_has_room(registers_)) return true;
  awaited_ = true;
  return false;
}

void Controller::take(const net::Frame& frame) {
  const std::size_t size = net::frame_size(frame.pieces);
  if (paused_ || size < net::kMinFrame || size > net::kMaxFrame) return;
  incoming_.resize(std::max<std::size_t>(size, kMinWireFrame));
  std::fill(incoming_.begin() + static_cast<std::ptrdiff_t>(size), incoming_.end(), u8{0});
  net::gather(frame.pieces, incoming_);
  std::scoped_lock lock(mutex_);
  if (!registers_.has(kRctl, kRxEnable)) return;
  const Reception result = receive(registers_, dma(), incoming_, frame.offload.checksum_valid);
  switch (result.fate) {
    case Reception::Fate::kStored:
      received_.add();
      break;
    case Reception::Fate::kFiltered:
      filtered_.add();
      break;
    case Reception::Fate::kTooLong:
      too_long_.add();
      break;
    case Reception::Fate::kNoDescriptors:
      no_descriptors_.add();
      break;
  }
  if (result.causes != 0) interrupts_.raise(result.causes);
}

}  // namespace vellum::e1000
