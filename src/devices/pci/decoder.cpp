#include "devices/pci/decoder.hpp"

#include "base/assert.hpp"

namespace vellum::pci {

unsigned Decoder::add(BusDevice& device, u64 size, std::string device_name) {
  const unsigned index = count_.load(std::memory_order_relaxed);
  VELLUM_ASSERT(index < kMaxWindows && size > 0, "window {} of {:#x} bytes", index, size);
  windows_[index].device = &device;
  windows_[index].size = size;
  windows_[index].name = std::move(device_name);
  count_.store(index + 1, std::memory_order_release);
  return index;
}

void Decoder::move(unsigned window, std::optional<u64> start) {
  Window& w = windows_[window];
  const bool fits = start && *start < limit_ && w.size <= limit_ - *start;
  const u64 to = fits ? *start : kNowhere;
  std::scoped_lock lock(mutex_);
  if (w.start.load(std::memory_order_relaxed) == to) return;
  sequence_.fetch_add(1, std::memory_order_acq_rel);
  w.start.store(to, std::memory_order_release);
  sequence_.fetch_add(1, std::memory_order_release);
  move_doorbells();
}

void Decoder::add_doorbell(unsigned window, u64 offset, unsigned size, std::function<void()> ring) {
  if (taker_ == nullptr) return;
  VELLUM_ASSERT(window < count_.load(std::memory_order_relaxed) && offset + size <= windows_[window].size,
                "a doorbell at {:#x} of window {}", offset, window);
  std::scoped_lock lock(mutex_);
  bells_.push_back({window, offset, size, taker_->add(std::move(ring)), std::nullopt});
  move_doorbells();
}

std::optional<DoorbellPlace> Decoder::place_of(const Bell& bell) {
  Window& window = windows_[bell.window];
  const u64 start = window.start.load(std::memory_order_relaxed);
  if (start == kNowhere) return std::nullopt;
  const Hit hit = search(start + bell.offset, bell.size);
  if (hit.window != &window || hit.straddles) return std::nullopt;
  return DoorbellPlace{start + bell.offset, bell.size, std::nullopt};
}

// A window that moves can hide others' doorbells, and show them. All leave before any comes, so that no two
// are ever at one place.
void Decoder::move_doorbells() {
  for (Bell& bell : bells_)
    if (bell.place && bell.place != place_of(bell)) taker_->move(bell.number, bell.place = std::nullopt);
  for (Bell& bell : bells_)
    if (const auto place = place_of(bell); place && !bell.place)
      taker_->move(bell.number, bell.place = place);
}

Decoder::Hit Decoder::search(u64 address, unsigned size) {
  const unsigned count = count_.load(std::memory_order_acquire);
  for (unsigned i = 0; i < count; ++i) {
    Window& w = windows_[i];
    const u64 start = w.start.load(std::memory_order_acquire);
    if (start == kNowhere || start >= address + size || address >= start + w.size) continue;
    if (start > address) return {&w, 0, true};  // it begins below the window
    return {&w, address - start, w.size - (address - start) < size};
  }
  return {};
}

Decoder::Hit Decoder::find(u64 address, unsigned size) {
  for (;;) {
    const u32 before = sequence_.load(std::memory_order_acquire);
    const Hit hit = search(address, size);
    if ((before & 1) == 0 && sequence_.load(std::memory_order_relaxed) == before) return hit;
  }
}

std::optional<u64> Decoder::read(u64 address, unsigned size) {
  const Hit hit = find(address, size);
  if (hit.window == nullptr) return std::nullopt;
  if (hit.straddles) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= read(address + i, 1).value_or(0xff) << (8 * i);
    return value;
  }
  hit.window->reads.add();
  return hit.window->device->read(hit.offset, size);
}

bool Decoder::write(u64 address, unsigned size, u64 value) {
  const Hit hit = find(address, size);
  if (hit.window == nullptr) return false;
  if (hit.straddles) {
    for (unsigned i = 0; i < size; ++i) write(address + i, 1, (value >> (8 * i)) & 0xff);
    return true;
  }
  hit.window->writes.add();
  hit.window->device->write(hit.offset, size, value);
  return true;
}

void Decoder::stats(std::vector<StatRow>& rows) const {
  for (unsigned i = 0; i < count_.load(std::memory_order_acquire); ++i) {
    const Window& w = windows_[i];
    if (w.reads.get() != 0) rows.push_back({name_, w.name + " reads", w.reads.get(), 0});
    if (w.writes.get() != 0) rows.push_back({name_, w.name + " writes", w.writes.get(), 0});
  }
}

}  // namespace vellum::pci
