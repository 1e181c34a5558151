#include "devices/virtio/queue.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/barrier.hpp"
#include "base/bits.hpp"

namespace vellum::virtio {
namespace {

constexpr u16 kNext = 1, kWrite = 2, kIndirect = 4, kAvailable = 1 << 7, kUsed = 1 << 15;
constexpr u64 kDescriptorSize = 16;
constexpr u16 kEventsEnabled = 0, kEventsDisabled = 1, kEventsAtDescriptor = 2;
// §2.6.5.2: a chain of more than 4 GiB is the driver's mistake.
constexpr u64 kMaxBytes = u64{1} << 32;

// §2.6.7.1: whether an index passed `event` on its way from `before` to `now`.
bool passed(u16 event, u16 now, u16 before) {
  return static_cast<u16>(now - event - 1) < static_cast<u16>(now - before);
}

u64 size_of(const std::vector<Buffer>& buffers) {
  u64 size = 0;
  for (const Buffer& buffer : buffers) size += buffer.host.size();
  return size;
}

}  // namespace

u64 Chain::readable_size() const {
  return size_of(readable);
}

u64 Chain::writable_size() const {
  return size_of(writable);
}

u64 read_chain(const Chain& chain, u64 offset, std::span<u8> to) {
  u64 done = 0;
  for (const Buffer& buffer : chain.readable) {
    if (done == to.size()) break;
    if (offset >= buffer.host.size()) {
      offset -= buffer.host.size();
      continue;
    }
    const u64 here = std::min<u64>(buffer.host.size() - offset, to.size() - done);
    guest_copy(to.data() + done, buffer.host.data() + offset, here);
    done += here;
    offset = 0;
  }
  return done;
}

u64 write_chain(const DmaView& dma, const Chain& chain, u64 offset, std::span<const u8> from) {
  u64 done = 0;
  for (const Buffer& buffer : chain.writable) {
    if (done == from.size()) break;
    if (offset >= buffer.host.size()) {
      offset -= buffer.host.size();
      continue;
    }
    const u64 here = std::min<u64>(buffer.host.size() - offset, from.size() - done);
    guest_copy(buffer.host.data() + offset, from.data() + done, here);
    dma.wrote(buffer.address + offset, here);
    done += here;
    offset = 0;
  }
  return done;
}

void note_written(const DmaView& dma, const Chain& chain, u64 length) {
  for (const Buffer& buffer : chain.writable) {
    const u64 here = std::min<u64>(buffer.host.size(), length);
    if (here == 0) return;
    dma.wrote(buffer.address, here);
    length -= here;
  }
}

Queue::Queue(const DmaView& dma, const QueueOptions& options, const QueueState& state)
    : dma_(dma), options_(options), state_(state) {
  const u64 n = state_.size;
  const bool power_of_two = n != 0 && (n & (n - 1)) == 0;
  if (n == 0 || n > 32768 || (!options_.packed && !power_of_two)) {
    fail(fmt::format("a queue of {} descriptors", n));
    return;
  }
  // Indices of a restored queue are untrusted.
  if (options_.packed) {
    state_.next_available = static_cast<u16>(state_.next_available % n);
    state_.next_used = static_cast<u16>(state_.next_used % n);
  }
  const GuestRam& ram = dma_.ram();
  descriptors_ = ram.bytes(GuestPhys(state_.descriptors), n * kDescriptorSize);
  driver_ = ram.bytes(GuestPhys(state_.driver), options_.packed ? 4 : 6 + 2 * n);
  device_ = ram.bytes(GuestPhys(state_.device), options_.packed ? 4 : 6 + 8 * n);
  if (descriptors_.empty() || driver_.empty() || device_.empty())
    fail(fmt::format("areas at {:#x}, {:#x}, {:#x} are not in RAM", state_.descriptors, state_.driver,
                     state_.device));
}

bool Queue::fail(std::string what) {
  if (fault_.empty()) fault_ = std::move(what);
  return false;
}

u16 Queue::load16(std::span<const u8> area, std::size_t offset) const {
  return guest_load<u16>(area.data() + offset);
}

void Queue::store(std::span<u8> area, GuestPhys at, std::size_t offset, unsigned size, u64 value) {
  u8* const to = area.data() + offset;
  if (size == 2) guest_store<u16>(to, static_cast<u16>(value));
  if (size == 4) guest_store<u32>(to, static_cast<u32>(value));
  if (size == 8) guest_store<u64>(to, value);
  dma_.wrote(at + offset, size);
}

Queue::Descriptor Queue::split_descriptor(std::span<const u8> table, u32 index) const {
  const u8* const d = table.data() + index * kDescriptorSize;
  return {guest_load<u64>(d), guest_load<u32>(d + 8), guest_load<u16>(d + 12), guest_load<u16>(d + 14)};
}

Queue::Descriptor Queue::packed_descriptor(std::span<const u8> table, u32 index) const {
  const u8* const d = table.data() + index * kDescriptorSize;
  // The flags say whether the rest is there: they come first.
  const u16 flags = guest_load<u16>(d + 14);
  return {guest_load<u64>(d), guest_load<u32>(d + 8), flags, guest_load<u16>(d + 12)};
}

bool Queue::available() const {
  if (!options_.packed) return load16(driver_, 2) != state_.next_available;
  const u16 flags = load16(descriptors_, state_.next_available * kDescriptorSize + 14);
  return ((flags & kAvailable) != 0) == state_.available_wrap &&
         ((flags & kUsed) != 0) != state_.available_wrap;
}

bool Queue::pop(Chain& chain) {
  if (broken() || !dma_.enabled()) return false;
  chain.readable.clear();
  chain.writable.clear();
  return options_.packed ? pop_packed(chain) : pop_split(chain);
}

bool Queue::add(Chain& chain, const Descriptor& descriptor, u64& total) {
  if (chain.readable.size() + chain.writable.size() >= kMaxChain)
    return fail(fmt::format("a chain of more than {} descriptors", kMaxChain));
  const bool write = (descriptor.flags & kWrite) != 0;
  if (!write && !chain.writable.empty()) return fail("a buffer to read behind one to write");
  if (descriptor.length == 0) return true;
  total += descriptor.length;
  if (total > kMaxBytes) return fail("a chain of more than 4 GiB");
  const GuestPhys at(descriptor.address);
  const auto host = dma_.bytes(at, descriptor.length);
  if (host.empty())
    return fail(
        fmt::format("a buffer of {:#x} bytes at {:#x} is not in RAM", descriptor.length, descriptor.address));
  (write ? chain.writable : chain.readable).push_back({at, host});
  return true;
}

// §2.6.5.3, §2.8.7: a table of descriptors, used in a split ring's way by chaining, in a packed one's in
// order.
bool Queue::add_indirect(Chain& chain, const Descriptor& descriptor, u64& total) {
  if (!options_.indirect) return fail("an indirect descriptor that was not negotiated");
  if (descriptor.length == 0 || descriptor.length % kDescriptorSize != 0)
    return fail(fmt::format("an indirect table of {} bytes", descriptor.length));
  const auto table = dma_.bytes(GuestPhys(descriptor.address), descriptor.length);
  if (table.empty()) return fail(fmt::format("an indirect table at {:#x} is not in RAM", descriptor.address));
  const u32 entries = descriptor.length / kDescriptorSize;
  u32 index = 0;
  for (u32 count = 0; count < kMaxChain; ++count) {
    const Descriptor entry =
        options_.packed ? packed_descriptor(table, index) : split_descriptor(table, index);
    if ((entry.flags & kIndirect) != 0) return fail("an indirect descriptor in an indirect table");
    if (!add(chain, entry, total)) return false;
    if (options_.packed) {
      if (++index == entries) return true;
      continue;
    }
    if ((entry.flags & kNext) == 0) return true;
    index = entry.next_or_id;
    if (index >= entries) return fail(fmt::format("entry {} of an indirect table of {}", index, entries));
  }
  return fail(fmt::format("a chain of more than {} descriptors", kMaxChain));
}

bool Queue::pop_split(Chain& chain) {
  const u16 index = load16(driver_, 2);
  const u16 waiting = static_cast<u16>(index - state_.next_available);
  if (waiting == 0) return false;
  if (waiting > state_.size)
    return fail(fmt::format("available index {} with {} next", index, state_.next_available));
  const u32 slot = state_.next_available & (state_.size - 1u);
  u32 at = load16(driver_, 4 + 2 * slot);
  chain.id = static_cast<u16>(at);
  chain.descriptors = 1;
  u64 total = 0;
  for (u32 count = 0; count < state_.size; ++count) {
    if (at >= state_.size) return fail(fmt::format("descriptor {} of {}", at, state_.size));
    const Descriptor descriptor = split_descriptor(descriptors_, at);
    if ((descriptor.flags & kIndirect) != 0) {
      if ((descriptor.flags & kNext) != 0) return fail("an indirect descriptor with a next one");
      if (!add_indirect(chain, descriptor, total)) return false;
    } else if (!add(chain, descriptor, total)) {
      return false;
    }
    if ((descriptor.flags & kNext) == 0) {
      ++state_.next_available;
      return true;
    }
    at = descriptor.next_or_id;
  }
  return fail("a chain that does not end");
}

bool Queue::pop_packed(Chain& chain) {
  if (!available()) return false;
  u32 at = state_.next_available;
  bool wrap = state_.available_wrap;
  u64 total = 0;
  for (u32 count = 1; count <= state_.size; ++count) {
    const Descriptor descriptor = packed_descriptor(descriptors_, at);
    if ((descriptor.flags & kIndirect) != 0) {
      if ((descriptor.flags & kNext) != 0 || count > 1) return fail("an indirect descriptor in a chain");
      if (!add_indirect(chain, descriptor, total)) return false;
    } else if (!add(chain, descriptor, total)) {
      return false;
    }
    if (++at == state_.size) {
      at = 0;
      wrap = !wrap;
    }
    if ((descriptor.flags & kNext) == 0) {
      chain.id = descriptor.next_or_id;
      chain.descriptors = static_cast<u16>(count);
      state_.next_available = static_cast<u16>(at);
      state_.available_wrap = wrap;
      return true;
    }
  }
  return fail("a chain that does not end");
}

void Queue::push(std::span<const UsedChain> used) {
  if (broken() || used.empty()) return;
  if (!options_.packed) {
    const GuestPhys base(state_.device);
    for (const auto& [chain, written] : used) {
      const std::size_t at = 4 + 8 * (state_.next_used & (state_.size - 1u));
      store(device_, base, at, 8, chain->id | u64{written} << 32);
      ++state_.next_used;
    }
    store(device_, base, 2, 2, state_.next_used);
    return;
  }
  const GuestPhys base(state_.descriptors);
  const std::size_t first = state_.next_used * kDescriptorSize;
  u16 first_flags = 0;
  for (const auto& [chain, written] : used) {
    const std::size_t at = state_.next_used * kDescriptorSize;
    store(descriptors_, base, at + 8, 4, written);
    store(descriptors_, base, at + 12, 2, chain->id);
    const u16 flags =
        static_cast<u16>((state_.used_wrap ? kAvailable | kUsed : 0) | (written != 0 ? kWrite : 0));
    // The driver looks at them in order, so the first one's flags come last.
    if (at == first) {
      first_flags = flags;
    } else {
      store(descriptors_, base, at + 14, 2, flags);
    }
    const u32 next = u32{state_.next_used} + chain->descriptors;
    state_.next_used = static_cast<u16>(next >= state_.size ? next - state_.size : next);
    if (next >= state_.size) {
      state_.used_wrap = !state_.used_wrap;
      state_.signalled_valid = false;
    }
  }
  store(descriptors_, base, first + 14, 2, first_flags);
}

bool Queue::wants_interrupt() {
  if (broken()) return false;
  store_load_barrier();
  const u16 before = state_.signalled, now = state_.next_used;
  const bool valid = state_.signalled_valid;
  state_.signalled = now;
  state_.signalled_valid = true;
  if (!options_.packed) {
    if (!options_.event_index) return (load16(driver_, 0) & 1) == 0;
    return !valid || passed(load16(driver_, 4 + 2 * u64{state_.size}), now, before);
  }
  const u16 flags = load16(driver_, 2) & 3;
  if (flags != kEventsAtDescriptor || !options_.event_index) return flags != kEventsDisabled;
  const u16 where = load16(driver_, 0);
  u16 event = where & 0x7fff;
  if ((where >> 15 != 0) != state_.used_wrap) event = static_cast<u16>(event - state_.size);
  return !valid || passed(event, now, before);
}

void Queue::disable_notifications() {
  if (broken()) return;
  if (options_.packed) {
    store(device_, GuestPhys(state_.device), 2, 2, kEventsDisabled);
  } else if (!options_.event_index) {
    store(device_, GuestPhys(state_.device), 0, 2, 1);
  }
}

bool Queue::enable_notifications() {
  if (broken()) return false;
  const GuestPhys base(state_.device);
  if (!options_.packed) {
    if (options_.event_index) {
      store(device_, base, 4 + 8 * u64{state_.size}, 2, state_.next_available);
    } else {
      store(device_, base, 0, 2, 0);
    }
  } else {
    if (options_.event_index)
      store(device_, base, 0, 2, state_.next_available | (state_.available_wrap ? 0x8000u : 0u));
    store(device_, base, 2, 2, options_.event_index ? kEventsAtDescriptor : kEventsEnabled);
  }
  store_load_barrier();
  return available();
}

}  // namespace vellum::virtio
