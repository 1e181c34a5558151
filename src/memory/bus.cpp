#include "memory/bus.hpp"

#include <algorithm>

#include "base/bits.hpp"

namespace vellum {

Result<> Bus::add(u64 start, u64 size, BusDevice& device, std::string device_name) {
  const auto next = std::lower_bound(ranges_.begin(), ranges_.end(), start,
                                     [](const Range& r, u64 address) { return r.start + r.size <= address; });
  if (next != ranges_.end() && next->start < start + size)
    return fail(ErrorCode::kInvalidArgument, "{} bus: '{}' at {:#x}+{:#x} overlaps '{}' at {:#x}+{:#x}",
                name_, device_name, start, size, next->name, next->start, next->size);
  ranges_.insert(next, Range{start, size, &device, std::move(device_name), std::make_unique<SharedCounter>(),
                             std::make_unique<SharedCounter>()});
  return {};
}

Bus::Range* Bus::find(u64 address, unsigned size, bool& straddles) {
  const auto it = std::lower_bound(ranges_.begin(), ranges_.end(), address,
                                   [](const Range& r, u64 a) { return r.start + r.size <= a; });
  straddles = false;
  if (it == ranges_.end() || it->start >= address + size) return nullptr;
  straddles = it->start > address || it->start + it->size < address + size;
  return &*it;
}

u64 Bus::read(u64 address, unsigned size) {
  bool straddles = false;
  Range* range = find(address, size, straddles);
  if (range == nullptr) {
    if (fallback_ != nullptr)
      if (const auto value = fallback_->read(address, size)) return *value & low_mask(8 * size);
    unclaimed_.add();
    return low_mask(8 * size);
  }
  if (straddles) {
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= read(address + i, 1) << (8 * i);
    return value;
  }
  range->reads->add();
  return range->device->read(address - range->start, size) & low_mask(8 * size);
}

void Bus::write(u64 address, unsigned size, u64 value) {
  bool straddles = false;
  Range* range = find(address, size, straddles);
  if (range == nullptr) {
    if (fallback_ != nullptr && fallback_->write(address, size, value & low_mask(8 * size))) return;
    unclaimed_.add();
    return;
  }
  if (straddles) {
    for (unsigned i = 0; i < size; ++i) write(address + i, 1, (value >> (8 * i)) & 0xff);
    return;
  }
  range->writes->add();
  range->device->write(address - range->start, size, value & low_mask(8 * size));
}

void Bus::stats(std::vector<StatRow>& rows) const {
  for (const Range& range : ranges_) {
    if (range.reads->get() != 0) rows.push_back({name_, range.name + " reads", range.reads->get(), 0});
    if (range.writes->get() != 0) rows.push_back({name_, range.name + " writes", range.writes->get(), 0});
  }
  if (unclaimed_.get() != 0) rows.push_back({name_, "unclaimed", unclaimed_.get(), 0});
}

}  // namespace vellum
