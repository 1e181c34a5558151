// Two more mappings of guest RAM, for translated code that accesses it by address without looking at anything
// else: what it must not do faults in the host.
//
//   stores    readable and writable, but for pages with tracked code, which are read-only
//   loads     read-only
//
// Their echoes (memory/echoes.hpp) are inaccessible, and so is nowhere(), with its own.
//
// Threads: protect() and release() under their caller's lock; the rest from any.
#pragma once

#include <memory>
#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"
#include "memory/residency.hpp"

namespace vellum {

class RamViews {
 public:
  /// Views of all of `memfd`, `size` bytes, that are addressed relative to `base`, its main mapping. Fails if
  /// there is no address space for them and their echoes.
  static Result<std::unique_ptr<RamViews>> create(int memfd, u64 size, u8* base);

  /// To be added to a host address in the main mapping.
  u64 store_delta() const { return store_delta_; }
  u64 load_delta() const { return load_delta_; }
  /// The address of 64 KiB that nobody can access.
  u64 nowhere() const { return reinterpret_cast<u64>(nowhere_.front().data()); }
  /// Whether `address` lies in the view for stores or the view for loads.
  bool contains(const void* address) const;

  /// The page at `offset` is about to be accessed in the view for stores, or else for loads. Any thread.
  void will_use(u64 offset, bool stores) { (stores ? store_residency_ : load_residency_).touch(offset); }

  /// Makes the 4 KiB page at `offset` read-only in the view for stores. When this returns, every store that
  /// did not fault is visible.
  void protect(u64 offset);
  /// Takes it back.
  void release(u64 offset);

 private:
  using Mappings = std::vector<Mapping>;
  RamViews(Mappings stores, Mappings loads, Mappings nowhere, u64 size, u8* base);

  Mappings stores_, loads_;  ///< with guards of 2 MiB on both sides, and echoes
  Mappings nowhere_;
  u64 size_;
  u64 store_delta_, load_delta_;
  Residency store_residency_, load_residency_;
  bool all_protected_ = false;  ///< the host has no more mappings to give: no page may be stored to
};

}  // namespace vellum
