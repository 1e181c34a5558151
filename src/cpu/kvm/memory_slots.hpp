// Guest memory in the kernel's slots: GuestRam's pieces, one slot each, read-only where stores go elsewhere
// (an MMIO exit then), and the kernel's part of the dirty log.
#pragma once

#include <mutex>
#include <vector>

#include "cpu/kvm/api.hpp"
#include "memory/guest_ram.hpp"

namespace vellum::kvm {

class MemorySlots final : public DirtySource {
 public:
  /// Both outlive it.
  MemorySlots(const Handle& vm, GuestRam& ram);
  ~MemorySlots() override;
  MemorySlots(const MemorySlots&) = delete;
  MemorySlots& operator=(const MemorySlots&) = delete;

  /// Makes the slots follow the pieces. While no vCPU is in the guest: a slot that changes is gone for a
  /// moment. An error names the first piece that the kernel refused; that is then no memory to it, and every
  /// access an exit.
  Result<> update();

  // Any thread.
  void watch_stores(bool on) override;
  void add_dirty_pages(std::span<u64> pages) override;

 private:
  struct Slot {
    u32 number;
    GuestRam::Piece piece;
  };
  Result<> set(const Slot& slot, bool exists);
  void collect(const Slot& slot);
  bool logs(const Slot& slot) const { return logging_ && slot.piece.stores; }

  const Handle& vm_;
  GuestRam& ram_;
  std::mutex mutex_;  // all below; before GuestRam's
  std::vector<Slot> slots_;
  bool logging_ = false;
  std::vector<u64> pages_;  ///< dirty ones of slots that went away, and a slot's own while it is asked for
};

}  // namespace vellum::kvm
