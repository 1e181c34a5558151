// Stamps of the guest's mapping of code: who caches "guest-virtual pc -> code" keeps the stamp of that
// address with it, and what it found counts while the stamp is the same.
//
// What is cached so is a TLB entry like any other (SDM vol. 3A §4.10.2): it belongs to a PCID, or is global;
// it survives a change of address space; INVLPG, a page fault at its page and flushes of its kind end it. The
// lower half of the address space has the stamp of the current PCID. So has the upper half, unless all code
// found there since the last flush of everything lay in global pages: then it has one of its own, which no
// MOV to CR3 changes, and a kernel's code stays known across processes.
#pragma once

#include <array>
#include <memory>

#include "base/address.hpp"
#include "cpu/mmu/page_filter.hpp"

namespace vellum {

class CodeMap {
 public:
  CodeMap() { drop_all(); }

  /// Of the half that `address` is in.
  u64 stamp(u64 address) const { return stamps_[address >> 63]; }

  /// `space`: the stamp that the TLB gives the current PCID's entries; a flushed PCID has a new one.
  void select(u32 space) {
    space_ = space;
    if (bits_set_ > kMostBits) forget();
    Space& s = current();
    if (s.stamp == 0 || s.space != space) s = {space, next_++};
    publish();
  }

  /// Code was found at `address`, in a page of 2^page_shift bytes.
  void found(u64 address, unsigned page_shift, bool global) {
    if ((address >> 63) != 0 && !global && upper_is_global_) {
      upper_is_global_ = false;
      publish();
    }
    add(name_of(address, page_shift, stamp(address)));
    const bool by_space = (address >> 63) == 0 || !upper_is_global_;
    if (global && by_space) add(name_of(address, page_shift, kGlobalBySpace));
  }

  /// The translation of `address`'s page is gone, in the current PCID and as a global one.
  void drop_page(u64 address) {
    // Under global_ once more if a unit's pages were found on both sides of the loss of upper_is_global_.
    if (may_have_found(address, kGlobalBySpace) || (!upper_is_global_ && may_have_found(address, global_))) {
      spaces_.fill({});
      select(space_);
    }
    if (!may_have_found(address, stamp(address))) return;
    if ((address >> 63) != 0 && upper_is_global_)
      global_ = next_++;
    else
      current().stamp = next_++;
    publish();
  }
  /// Translations of another PCID, whose entries have the TLB's stamp `space`, are gone.
  void drop_space(u32 space) {
    Space& s = spaces_[space % spaces_.size()];
    if (s.space == space) s = {};
    select(space_);
  }
  /// All translations are gone, or the TLB's stamps have started over.
  void drop_all() {
    forget();
    select(space_);
  }

 private:
  struct Space {
    u32 space = 0;
    u64 stamp = 0;
  };
  static constexpr u32 kMostBits = 4096;  // of 65536, at a change of address space: then all starts afresh
  /// In the place of a stamp: a global page of which code is known under the stamps of some spaces.
  static constexpr u64 kGlobalBySpace = 0;
  static constexpr std::array<unsigned, 4> kPageShifts{12, 21, 22, 30};

  static u64 name_of(u64 address, unsigned page_shift, u64 stamp) {
    return (address >> page_shift) + (u64{page_shift} << 54) + (stamp << 30);
  }
  void add(u64 name) {
    if (filter_->add(name)) ++bits_set_;
  }
  void forget() {
    global_ = next_++;
    spaces_.fill({});
    upper_is_global_ = true;
    bits_set_ = 0;
    filter_->clear();
  }
  bool may_have_found(u64 address, u64 stamp) const {
    for (const unsigned shift : kPageShifts)
      if (filter_->may_contain(name_of(address, shift, stamp))) return true;
    return false;
  }
  Space& current() { return spaces_[space_ % spaces_.size()]; }
  void publish() { stamps_ = {current().stamp, upper_is_global_ ? global_ : current().stamp}; }

  std::array<u64, 2> stamps_{};  ///< of the lower and the upper half; never used again once changed
  u64 next_ = 1;
  u64 global_ = 0;
  u32 space_ = 0;
  bool upper_is_global_ = true;
  std::array<Space, 64> spaces_{};
  u32 bits_set_ = 0;
  std::unique_ptr<PageFilter> filter_ = std::make_unique<PageFilter>();
};

}  // namespace vellum
