// A virtqueue as the device sees it (virtio 1.2 §2.6, split, and §2.8, packed): takes chains of buffers that
// the driver made available, gives them back used.
//
// GUEST-CONTROLLED: all of a ring's memory, at any time. Each index, address and length is read once and
// checked: a ring that breaks the specification makes the queue broken(), and nothing more is taken from it.
//
// Threads: the event loop's.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "memory/dma_view.hpp"

namespace vellum::virtio {

struct QueueState {
  u16 size = 0;
  bool ready = false;
  u64 descriptors = 0, driver = 0, device = 0;  ///< the three areas' guest-physical addresses
  u16 next_available = 0, next_used = 0;
  bool available_wrap = true, used_wrap = true;  ///< packed
  u16 signalled = 0;                             ///< next_used at the last interrupt
  bool signalled_valid = false;
  template <class V>
  void visit(V& v) {
    v(size), v(ready), v(descriptors), v(driver), v(device), v(next_available), v(next_used);
    v(available_wrap), v(used_wrap), v(signalled), v(signalled_valid);
  }
};

/// Where a queue's next chain is taken from.
struct RingPosition {
  u16 next = 0;
  bool wrap = true;
  void apply(QueueState& state) const { state.next_available = next, state.available_wrap = wrap; }
};

struct Buffer {
  GuestPhys address;
  std::span<u8> host;
};

/// What the driver made available in one piece: buffers to read, then buffers to write.
struct Chain {
  u16 id = 0;
  u16 descriptors = 0;  ///< of the ring
  std::vector<Buffer> readable, writable;

  u64 readable_size() const;
  u64 writable_size() const;
};

/// Copies from the readable buffers, `offset` bytes in. How many bytes there were.
u64 read_chain(const Chain& chain, u64 offset, std::span<u8> to);
/// Copies to the writable buffers and notes the stores. How many bytes there was room for.
u64 write_chain(const DmaView& dma, const Chain& chain, u64 offset, std::span<const u8> from);
/// The first `length` bytes of the writable buffers were stored to by someone else.
void note_written(const DmaView& dma, const Chain& chain, u64 length);

/// A chain to give back, with `written` bytes in its writable buffers.
struct UsedChain {
  const Chain* chain = nullptr;
  u32 written = 0;
};

struct QueueOptions {
  bool packed = false, event_index = false, indirect = false;
};

class Queue {
 public:
  /// Descriptors in one chain; a longer one breaks the ring.
  static constexpr u32 kMaxChain = 1024;

  Queue(const DmaView& dma, const QueueOptions& options, const QueueState& state);

  /// The next chain; false if there is none, or the ring is broken.
  bool pop(Chain& chain);
  /// Gives back a chain with `written` bytes in its writable buffers.
  void push(const Chain& chain, u32 written) {
    const UsedChain used{&chain, written};
    push({&used, 1});
  }
  /// Several, of which the driver sees none before it sees all.
  void push(std::span<const UsedChain> used);
  /// After one or more push(): whether the driver wants to be interrupted for them.
  bool wants_interrupt();

  /// The driver need not notify us: we are at it.
  void disable_notifications();
  /// It must again. True if there is something available already: look once more.
  bool enable_notifications();

  bool broken() const { return !fault_.empty(); }
  /// What is wrong with the ring.
  const std::string& fault() const { return fault_; }
  const QueueState& state() const { return state_; }
  RingPosition position() const { return {state_.next_available, state_.available_wrap}; }

 private:
  struct Descriptor {
    u64 address;
    u32 length;
    u16 flags, next_or_id;
  };
  bool fail(std::string what);
  bool pop_split(Chain& chain);
  bool pop_packed(Chain& chain);
  bool add(Chain& chain, const Descriptor& descriptor, u64& total);
  bool add_indirect(Chain& chain, const Descriptor& table, u64& total);
  Descriptor split_descriptor(std::span<const u8> table, u32 index) const;
  Descriptor packed_descriptor(std::span<const u8> table, u32 index) const;
  bool available() const;
  // Little-endian fields of an area, bounds checked against it by construction.
  u16 load16(std::span<const u8> area, std::size_t offset) const;
  void store(std::span<u8> area, GuestPhys at, std::size_t offset, unsigned size, u64 value);

  DmaView dma_;
  QueueOptions options_;
  QueueState state_;
  std::span<u8> descriptors_, driver_, device_;
  std::string fault_;
};

}  // namespace vellum::virtio
