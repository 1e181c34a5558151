// The table that translated code looks guest-virtual addresses up in: what of the TLB needs one comparison
// only.
//
//   tag   guest-virtual page base | context       delta: host address = guest-virtual address + delta
//
// A context is a small number for what else must fit: the address space's stamp, and the privilege of data
// accesses. It stands in the 12 bits that a page base leaves free, so that an access that crosses into
// another page, or a non-canonical address, compares unequal without a test of its own. Contexts 0 and 4095
// are nobody's: under 0 every access takes the slow path, and an empty tag is all ones.
//
// Threads: one vCPU's own.
#pragma once

#include <array>

#include "base/int.hpp"
#include "memory/guest_ram.hpp"

namespace vellum {

struct FrontTlb {
  static constexpr unsigned kBits = 10;
  static constexpr u64 kSize = u64{1} << kBits;
  static constexpr u64 kEmpty = ~u64{0};

  struct Entry {
    u64 read_tag = kEmpty, write_tag = kEmpty;
    u64 delta = 0;
    CodePage* code = nullptr;
  };
  static_assert(sizeof(Entry) == 32);

  u64 context = 0;
  std::array<Entry, kSize> entries;

  Entry& entry(u64 address) { return entries[(address >> kPageShift) & (kSize - 1)]; }

  void insert(u64 address, bool readable, bool writable, u64 delta, CodePage* code) {
    if (context == 0) return;
    const u64 tag = (address & ~kPageMask) | context;
    entry(address) = {readable ? tag : kEmpty, writable ? tag : kEmpty, delta, code};
  }
  /// Forgets the page of `address`, in every context.
  void drop(u64 address) {
    Entry& e = entry(address);
    e.read_tag = e.write_tag = kEmpty;
  }
  void flush() {
    for (Entry& e : entries) e.read_tag = e.write_tag = kEmpty;
  }
  /// Forgets what stamps mean, too.
  void restart() {
    flush();
    numbers.fill({});
    next = 1;
    forget_ways();
  }
  /// From now on accesses are those of the address space `stamp` in privilege `shift`; `watched`: all slow.
  void select(u32 stamp, u32 shift, bool watched) {
    if (watched) {
      context = 0;
      forget_ways();
      return;
    }
    Number* n = &numbers[(stamp * 4 + shift / 3) % numbers.size()];
    if (n->value == 0 || n->stamp != stamp || n->shift != shift) {
      if (next == kLast) restart();
      *n = {stamp, shift, next++};
    }
    context = n->value;
  }

  /// How accesses go at each privilege (namespace rights: user, supervisor under SMAP, supervisor free of
  /// it), for translated code that changes the privilege by itself: it makes `context` and FlatTables'
  /// selection these, and tells the MMU before that is asked for anything (Mmu::update_context()).
  struct Way {
    u64 context = 0;  ///< 0: not known
    const u64* flat_slots = nullptr;
  };
  std::array<Way, 3> ways{};
  void note_way(u32 shift, const u64* flat_slots) { ways[shift / 3] = {context, flat_slots}; }
  void forget_ways() { ways = {}; }

  // The numbers given to contexts. (Public for the layout's sake: translated code computes offsets in here.)
  static constexpr u32 kLast = 4095;
  struct Number {
    u32 stamp = 0, shift = 0, value = 0;
  };
  std::array<Number, 256> numbers{};
  u32 next = 1;
};

}  // namespace vellum
