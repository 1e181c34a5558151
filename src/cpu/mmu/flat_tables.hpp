// The flat tables that translated code adds to guest-virtual addresses: host address = guest-virtual address
// + slot, with no comparison (docs/design/flat-table.md).
//
// An access of `size` bytes at `a` uses slot (n1 + n2) mod 2^32, n1 and n2 being a and a + size - 1 without
// their lowest 12 bits.
//   slot 2n      both bytes in a page whose number is n in bits 42..12: what to add, or "absent"
//   slot 2n + 1  the access crosses from such a page into the next: always "absent"
// Bits 63..43 are not looked at: what is added is exact for one value of them only, and for any other the sum
// is an echo (memory/echoes.hpp) of guest RAM, or where no process has anything: not canonical, in the host
// kernel's half, above 2^47. "Absent" makes the sum of every address with those bits 42..12 an inaccessible
// page of ours, an echo of it, or such a sum. So an access that the table does not allow faults in the host.
// Of pages with the same bits 42..12 a table has one at a time.
//
// A table stands for one (address space, privilege); translated code finds the one that counts through a
// pointer. Threads: one vCPU's own.
#pragma once

#include <memory>
#include <vector>

#include "base/bits.hpp"
#include "base/fd.hpp"
#include "base/result.hpp"
#include "base/stats.hpp"
#include "memory/echoes.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {

class FlatTables {
 public:
  /// Of the slot for an access from byte `first` to byte `last`, at most a page. Translated code computes the
  /// same.
  static constexpr u32 index(u64 first, u64 last) {
    return static_cast<u32>((first >> kPageShift) + (last >> kPageShift));
  }

  /// Up to `most` tables. `selected`, which outlives this, always points to the slots of the one that counts.
  /// Fails if the host gives no address space.
  static Result<std::unique_ptr<FlatTables>> create(GuestRam& ram, unsigned most, const u64*& selected);

  /// Accesses are from now on those of the address space `stamp` in privilege `shift`. A table that several
  /// address spaces share is given the stamp of global pages; what is not global leaves it with
  /// forget_local(). False: another table was given up for it.
  bool select(u32 stamp, u32 shift);
  /// Every access faults.
  void select_none();

  struct Page {
    u64 address = 0;           ///< guest-virtual, of the page
    const u8* host = nullptr;  ///< in RAM's main mapping
    bool writable = false;
    bool local = false;  ///< to leave with forget_local()
    bool ahead = false;  ///< nobody has asked for it yet: it displaces no other
  };
  /// Whether that changed anything.
  bool insert(const Page& page);

  /// What an access from byte `first` to byte `last`, at most a page, finds in the selected table.
  u64 look_up(u64 first, u64 last) const;

  /// Forgets the page of `address` in every table.
  void drop(u64 address);
  void drop_range(u64 address, u64 bytes);
  void flush();
  /// Forgets what stamps mean, too.
  void restart();
  /// Forgets the pages that were inserted as local, in every table.
  void forget_local();

  const u64* selected() const { return selected_; }
  /// Pieces of 16 KiB that have memory, of all tables.
  std::size_t pieces() const;
  u64 fills() const { return fills_.get(); }
  /// How often a page took the slot of another.
  u64 displaced() const { return displaced_.get(); }

 private:
  friend struct FlatTablesTest;
  struct Table {
    Mapping reserved;
    u64* slots = nullptr;
    Mapping committed;        ///< a bit for each piece of the table that has memory
    std::vector<u64> pieces;  ///< their numbers
    u32 stamp = 0, shift = 0;
    u64 used = 0;                  ///< when it was last selected
    std::vector<u64> pages;        ///< page numbers that may have a slot
    std::vector<u64> local_pages;  ///< those of them that are not global
  };

  FlatTables(GuestRam& ram, RamViews& views, const u64*& selected)
      : ram_(ram), views_(views), selected_(selected) {}
  Result<> add_table();
  // The number of the page of `address` in every table.
  static u64 page_number(u64 address) { return bits(address, kEchoShift - 1, kPageShift); }
  u64 absent(u64 page) const { return views_.nowhere() - (page << kPageShift); }
  static bool has_piece(const Table& t, u64 page);
  bool commit(Table& t, u64 page);
  void clear(Table& t);
  void release(Table& t);
  void use(Table& t);
  void forget(Table& t, u64 page) {
    if (has_piece(t, page)) t.slots[2 * page] = absent(page);
  }

  GuestRam& ram_;
  RamViews& views_;
  const u64*& selected_;
  std::vector<Table> tables_;  ///< the last is never filled: select_none()
  Table* current_ = nullptr;
  u64 clock_ = 0;
  Counter fills_, displaced_;
};

}  // namespace vellum
