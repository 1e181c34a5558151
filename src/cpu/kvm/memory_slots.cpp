#include "cpu/kvm/memory_slots.hpp"

#include <algorithm>
#include <bit>

#include "base/log.hpp"

namespace vellum::kvm {

MemorySlots::MemorySlots(const Handle& vm, GuestRam& ram) : vm_(vm), ram_(ram) {
  ram_.add_dirty_source(*this);
}

MemorySlots::~MemorySlots() {
  ram_.remove_dirty_source(*this);
}

Result<> MemorySlots::set(const Slot& slot, bool exists) {
  kvm_userspace_memory_region region{};
  region.slot = slot.number;
  region.flags = (slot.piece.stores ? 0 : KVM_MEM_READONLY) | (logs(slot) ? KVM_MEM_LOG_DIRTY_PAGES : 0);
  region.guest_phys_addr = slot.piece.range.start.value;
  region.memory_size = exists ? slot.piece.range.size : 0;
  // SAFETY: GuestRam outlives the VM and never moves.
  region.userspace_addr = reinterpret_cast<u64>(slot.piece.host);
  const int result = vm_.call(KVM_SET_USER_MEMORY_REGION, &region);
  if (result >= 0) return {};
  return fail_errno(
      fmt::format("/dev/kvm: KVM_SET_USER_MEMORY_REGION: {:#x}, {:#x} bytes{}", slot.piece.range.start.value,
                  slot.piece.range.size, slot.piece.stores ? "" : ", read-only"),
      -result);
}

// The kernel can change neither place nor KVM_MEM_READONLY of a slot: it goes, and comes anew.
Result<> MemorySlots::update() {
  const std::scoped_lock lock(mutex_);
  std::vector<GuestRam::Piece> pieces = ram_.pieces();
  Result<> outcome;
  std::erase_if(slots_, [&](const Slot& slot) {
    const auto same = std::ranges::find(pieces, slot.piece);
    if (same != pieces.end()) {
      pieces.erase(same);
      return false;
    }
    if (logs(slot)) collect(slot);
    if (Result<> gone = set(slot, false); !gone && outcome) outcome = std::move(gone);
    return true;
  });
  for (const GuestRam::Piece& piece : pieces) {
    Slot slot{0, piece};
    while (std::ranges::find(slots_, slot.number, &Slot::number) != slots_.end()) ++slot.number;
    if (Result<> made = set(slot, true); made)
      slots_.push_back(slot);
    else if (outcome)
      outcome = std::move(made);
  }
  return outcome;
}

void MemorySlots::watch_stores(bool on) {
  const std::scoped_lock lock(mutex_);
  logging_ = on;
  pages_.assign(on ? (ram_.size() + ram_.block_room()) / kPageSize / 64 + 1 : 0, 0);
  for (const Slot& slot : slots_)
    if (Result<> set_flags = slot.piece.stores ? set(slot, true) : Result<>(); !set_flags)
      spdlog::error("{}", set_flags.error().message);
}

// Asking is also what makes the slot's pages clean.
void MemorySlots::collect(const Slot& slot) {
  const u64 first = ram_.offset_in_memory(slot.piece.host) >> kPageShift;
  std::vector<u64> bits((slot.piece.range.size / kPageSize + 63) / 64);
  kvm_dirty_log log{};
  log.slot = slot.number;
  log.dirty_bitmap = bits.data();
  if (const int result = vm_.call(KVM_GET_DIRTY_LOG, &log); result < 0) {
    spdlog::error("/dev/kvm: KVM_GET_DIRTY_LOG: error {}; all of the slot counts as dirty", -result);
    std::ranges::fill(bits, ~u64{0});
  }
  const u64 count = slot.piece.range.size / kPageSize;
  for (u64 word = 0; word < bits.size(); ++word)
    for (u64 left = bits[word]; left != 0; left &= left - 1) {
      const u64 page = word * 64 + static_cast<u64>(std::countr_zero(left));
      if (page < count) pages_[(first + page) / 64] |= u64{1} << (first + page) % 64;
    }
}

void MemorySlots::add_dirty_pages(std::span<u64> pages) {
  const std::scoped_lock lock(mutex_);
  for (const Slot& slot : slots_)
    if (logs(slot)) collect(slot);
  for (u64 word = 0; word < std::min(pages.size(), pages_.size()); ++word) {
    pages[word] |= pages_[word];
    pages_[word] = 0;
  }
}

}  // namespace vellum::kvm
