#include "devices/legacy/fw_cfg.hpp"

#include <algorithm>
#include <array>

#include "base/assert.hpp"

namespace vellum {
namespace {

constexpr std::string_view kDmaSignature = "QEMU CFG";
constexpr u32 kHasDma = 1 << 1, kTraditional = 1 << 0;

void put_big(std::vector<u8>& to, u64 value, unsigned size) {
  for (unsigned i = size; i-- > 0;) to.push_back(static_cast<u8>(value >> (8 * i)));
}

u64 get_big(std::span<const u8> from) {
  u64 value = 0;
  for (const u8 byte : from) value = value << 8 | byte;
  return value;
}

u32 swapped(u64 value) {
  return __builtin_bswap32(static_cast<u32>(value));
}

// FWCfgDmaAccess.control.
constexpr u32 kError = 1 << 0, kRead = 1 << 1, kSkip = 1 << 2, kSelect = 1 << 3, kWrite = 1 << 4;

}  // namespace

FwCfgItems::FwCfgItems() {
  add(kSignature, {'Q', 'E', 'M', 'U'});
  add_number<u32>(kId, kTraditional | kHasDma);
  write_directory();
}

void FwCfgItems::add_file(std::string name, std::vector<u8> bytes) {
  VELLUM_ASSERT(name.size() <= kMaxName && files_.size() < kMaxFiles && !files_.contains(name), "file '{}'",
                name);
  const auto key = static_cast<u16>(kFirstFile + files_.size());
  items_[key] = std::move(bytes);
  files_.emplace(std::move(name), key);
  write_directory();
}

// struct FWCfgFiles: a count, then 64 bytes for each: size, key, reserved, name.
void FwCfgItems::write_directory() {
  std::vector<u8> directory;
  put_big(directory, files_.size(), 4);
  for (const auto& [name, key] : files_) {
    put_big(directory, items_.at(key).size(), 4);
    put_big(directory, key, 2);
    put_big(directory, 0, 2);
    for (unsigned i = 0; i <= kMaxName; ++i)
      directory.push_back(i < name.size() ? static_cast<u8>(name[i]) : 0);
  }
  items_[kDirectory] = std::move(directory);
}

void FwCfgItems::set_refresh(const std::string& name, Refresh refresh) {
  refresh_[key_of(name)] = std::move(refresh);
}

const std::vector<u8>* FwCfgItems::fresh(u16 key) {
  if (const auto found = refresh_.find(key); found != refresh_.end()) {
    std::vector<u8>& bytes = items_.at(key);
    const std::size_t size = bytes.size();
    found->second(bytes);
    VELLUM_ASSERT(bytes.size() == size, "item {:#x} of {} bytes, now {}", key, size, bytes.size());
  }
  return find(key);
}

const std::vector<u8>* FwCfgItems::find(u16 key) const {
  const auto found = items_.find(key);
  return found == items_.end() ? nullptr : &found->second;
}

const std::vector<u8>* FwCfgItems::find_file(const std::string& name) const {
  const auto found = files_.find(name);
  return found == files_.end() ? nullptr : find(found->second);
}

u64 FwCfg::read(u64 offset, unsigned size) {
  const std::scoped_lock lock(mutex_);
  u64 value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const u64 at = offset + i;
    const u8 byte = at == 1                      ? next_byte()
                    : at >= 4 && at < kPortCount ? static_cast<u8>(kDmaSignature[at - 4])
                                                 : 0;
    value |= u64{byte} << (8 * i);
  }
  return value;
}

void FwCfg::write(u64 offset, unsigned size, u64 value) {
  const std::scoped_lock lock(mutex_);
  if (offset == 0 && size == 2) return select(static_cast<u16>(value));
  if (offset == 4 && size == 4) {
    state_.dma_high = swapped(value);
  } else if (offset == 8 && size == 4) {
    run_dma(GuestPhys(u64{state_.dma_high} << 32 | swapped(value)));
  } else if (offset == 4 && size == 8) {
    run_dma(GuestPhys(__builtin_bswap64(value)));
  }
}

void FwCfg::select(u16 key) {
  state_.key = key;
  state_.offset = 0;
}

u8 FwCfg::next_byte() {
  const auto* const item = items_.fresh(state_.key);
  if (item == nullptr || state_.offset >= item->size()) return 0;
  return (*item)[state_.offset++];
}

void FwCfg::run_dma(GuestPhys request) {
  state_.dma_high = 0;
  std::array<u8, 16> words;
  if (!space_.read(request, words)) return;  // nowhere to say so
  const auto all = std::span<const u8>(words);
  const auto control = static_cast<u32>(get_big(all.first(4)));
  const auto length = static_cast<u32>(get_big(all.subspan(4, 4)));
  if ((control & kSelect) != 0) select(static_cast<u16>(control >> 16));
  const bool done = transfer(control, length, GuestPhys(get_big(all.subspan(8, 8))));
  std::vector<u8> result;
  put_big(result, done ? 0 : kError, 4);
  space_.write(request, result);
}

// GUEST-CONTROLLED: all. Past an item's end there are zeroes.
bool FwCfg::transfer(u32 control, u32 length, GuestPhys to) {
  const auto* const item = items_.fresh(state_.key);
  const u32 size = item == nullptr ? 0 : static_cast<u32>(item->size());
  const u32 offset = std::min(state_.offset, size);
  const u32 have = std::min(length, size - offset);
  if ((control & kRead) != 0) {
    if (have > 0 && !space_.write(to, std::span<const u8>(*item).subspan(offset, have))) return false;
    static constexpr std::array<u8, kPageSize> kZeroes{};
    for (u64 at = have; at < length; at += kZeroes.size())
      if (!space_.write(to + at,
                        std::span<const u8>(kZeroes).first(std::min<u64>(length - at, kZeroes.size()))))
        return false;
  } else if ((control & kWrite) != 0) {
    return false;  // no item can be written
  } else if ((control & kSkip) == 0) {
    return true;
  }
  state_.offset = offset + have;
  return true;
}

SavedState FwCfg::save() const {
  const std::scoped_lock lock(mutex_);
  return encode_state(state_);
}

}  // namespace vellum
