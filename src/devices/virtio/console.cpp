#include "devices/virtio/console.hpp"

#include <algorithm>
#include <array>

namespace vellum::virtio {
namespace {

constexpr u64 kSize = 1;  ///< VIRTIO_CONSOLE_F_SIZE (§5.3.3)
constexpr unsigned kReceiveQueue = 0, kTransmitQueue = 1;
constexpr u16 kDeviceType = 3;
/// How long a driver has to see by itself that its output is done.
constexpr auto kInterruptDelay = std::chrono::microseconds(200);
constexpr u32 kClass = 0x078000;  ///< a communication device of no other kind

}  // namespace

Console::Console(const IoContext& context, PacedSink& output, const State& state)
    : Device(context, {kDeviceType, kClass, "virtio-console", kSize, {kQueueSize, kQueueSize}}, state.virtio),
      output_(output),
      skip_(state.sent),
      size_told_(state.size_told),
      columns_(state.columns),
      rows_(state.rows) {}

std::vector<u8> Console::config() const {
  return {static_cast<u8>(columns_), static_cast<u8>(columns_ >> 8), static_cast<u8>(rows_),
          static_cast<u8>(rows_ >> 8)};
}

void Console::resize(u16 columns, u16 rows) {
  {
    std::scoped_lock lock(mutex_);
    if (columns == columns_ && rows == rows_) return;
    columns_ = columns, rows_ = rows;
  }
  config_changed();
}

void Console::stop() {
  sending_.reset();
  skip_ = 0;
  ended_ = false;
  size_told_ = false;
  interrupt_due_ = false;
  if (delay_) delay_->disarm();
  tell_room();  // it may go to somebody else
}

void Console::end(const std::string& why) {
  ended_ = true;
  needs_reset(why);
}

void Console::quiesce() {
  interrupt_now();
  paused_ = true;
}

void Console::resume() {
  paused_ = false;
  Device::resume();
  tell_room();
}

void Console::tell_room() {
  starved_ = false;
  if (room_) room_();
}

void Console::process(unsigned index) {
  if (index == kTransmitQueue) return send();
  if (starved_ && !paused_) tell_room();
}

// From the guest.

void Console::send() {
  Queue* const q = queue(kTransmitQueue);
  if (q == nullptr) sending_.reset();
  if (q == nullptr || paused_ || ended_) return;
  q->disable_notifications();
  bool room = true, pushed = false;
  // No more than the ring has: a driver that refills it as fast must not keep the loop.
  for (unsigned taken = 0; taken <= q->state().size; ++taken) {
    if (!sending_) {
      Sending next;
      next.before = q->position();
      if (!q->pop(next.chain)) break;
      next.size = next.chain.readable_size();
      next.sent = std::min(std::exchange(skip_, 0), next.size);
      sending_ = std::move(next);
    }
    room = write_out(*sending_);
    if (!room) break;
    q->push(sending_->chain, 0);
    sending_.reset();
    pushed = true;
  }
  if (pushed) {
    interrupt_soon();
    tell_size();
  }
  check(kTransmitQueue);
  if (room && q->enable_notifications()) look_again(kTransmitQueue);
}

// Linux's driver does not sleep until its output is done: it spins, and has no use for the interrupt that it
// has asked for, which then finds nothing used and counts as one that nobody cared for. Asked a little later
// whether it still wants it, it has said no (event index, §2.7.7), and a driver that sleeps is told of many
// pieces at once.
void Console::interrupt_soon() {
  if (context().synchronous) return interrupt_if_wanted(kTransmitQueue);
  if (std::exchange(interrupt_due_, true)) return;
  if (!delay_) delay_ = context().loop->delay([this] { interrupt_now(); });
  delay_->arm(kInterruptDelay);
}

void Console::interrupt_now() {
  if (std::exchange(interrupt_due_, false)) interrupt_if_wanted(kTransmitQueue);
}

// Linux's driver looks at the size when it is told of a change and at no other time (config_work_handler() in
// drivers/char/virtio_console.c), and can do something about it once it has its port, as it has when it
// prints.
void Console::tell_size() {
  if (std::exchange(size_told_, true)) return;
  bool known;
  {
    std::scoped_lock lock(mutex_);
    known = columns_ != 0 || rows_ != 0;
  }
  if (known) config_changed();
}

// False: the rest must wait until the sink has room. Under the virtual clock the guest's output takes no
// time, so it is us who wait.
bool Console::write_out(Sending& sending) {
  std::array<u8, 4096> bytes;
  while (sending.sent < sending.size) {
    if (!context().synchronous && !output_.has_room()) return false;
    const u64 count = read_chain(sending.chain, sending.sent, bytes);
    output_.write(std::span(bytes).first(count));
    sending.sent += count;
    bytes_out_.add(count);
  }
  return true;
}

// To the guest.

std::size_t Console::receive(std::span<const u8> bytes) {
  Queue* const q = queue(kReceiveQueue);
  if (paused_ || ended_ || q == nullptr || q->broken()) return 0;
  constexpr unsigned kMostFutile = 16;
  std::size_t done = 0;
  q->disable_notifications();
  for (unsigned futile = 0; done < bytes.size();) {
    Chain chain;
    if (q->pop(chain)) {
      // GUEST-CONTROLLED: a buffer has room for a byte at least, and only the device writes to it (§5.3.6.2).
      const u64 count = write_chain(dma(), chain, 0, bytes.subspan(done));
      q->push(chain, static_cast<u32>(count));
      done += count;
      if (count == 0) {
        end("a receive buffer without room");
        break;
      }
      continue;
    }
    check(kReceiveQueue);
    starved_ = true;
    if (q->broken() || !q->enable_notifications()) break;
    // GUEST-CONTROLLED: our own stores may lie on the index that says what there is.
    if (++futile == kMostFutile) {
      end("a receive ring that announces buffers and has none");
      break;
    }
  }
  bytes_in_.add(done);
  if (done != 0) interrupt_if_wanted(kReceiveQueue);
  return done;
}

SavedState Console::save() const {
  State state;
  state.virtio = device_state();
  state.sent = skip_;
  if (sending_) {
    sending_->before.apply(state.virtio.queues[kTransmitQueue]);
    state.sent = sending_->sent;
  }
  state.size_told = size_told_;
  std::scoped_lock lock(mutex_);
  state.columns = columns_, state.rows = rows_;
  return encode_state(state);
}

void Console::stats(std::vector<StatRow>& rows) const {
  Device::stats(rows);
  if (bytes_out_.get() != 0) rows.push_back({kind().name, "bytes from the guest", bytes_out_.get(), 0});
  if (bytes_in_.get() != 0) rows.push_back({kind().name, "bytes to the guest", bytes_in_.get(), 0});
}

}  // namespace vellum::virtio
