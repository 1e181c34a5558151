// The software MMU of one vCPU: guest-virtual accesses through a software TLB, and the slow path behind it
// (page walk with A and D bits, faults, page-crossing accesses, memory-mapped I/O, alignment checks, data
// breakpoints).
//
// The TLB is what the architecture calls one: it may hold stale translations until software flushes them
// (INVLPG, INVPCID, MOV to CR3/CR4 …), and page tables are never write-traced (SDM vol. 3A §4.10).
//
// Errors: every access returns false after recording a guest exception in `fault()`; nothing was stored then
// (an access that crosses a page checks both pages first). Threads: one vCPU's own thread only.
#pragma once

#include <array>
#include <memory>

#include "base/address.hpp"
#include "base/stats.hpp"
#include "base/trace.hpp"
#include "cpu/mmu/access.hpp"
#include "cpu/mmu/code_map.hpp"
#include "cpu/mmu/flat_tables.hpp"
#include "cpu/mmu/front_tlb.hpp"
#include "cpu/mmu/page_filter.hpp"
#include "cpu/mmu/stamps.hpp"
#include "cpu/mmu/walk.hpp"
#include "cpu/state.hpp"
#include "cpu/vcpu_board.hpp"
#include "memory/address_space.hpp"
#include "x86/exception.hpp"

namespace vellum {

struct TlbEntry {
  static constexpr u64 kInvalid = ~u64{0};

  u64 page = kInvalid;  ///< guest-virtual page number, all 52 bits: a non-canonical address never matches
  u64 host_delta = 0;   ///< host address (not RAM: guest-physical one) = guest-virtual address + host_delta
  u32 stamp = 0;        ///< the address space's stamp, or the global one
  u16 allow = 0;        ///< what needs no slow path, as namespace rights lays out: 0 if the page is not RAM
  u16 flags =
      0;  ///< bits 8..0: what the translation permits (allow, if RAM); kNotRam, kStoresToBus; the page size
  CodePage* code = nullptr;  ///< code tracking of the RAM page; an empty record for others

  static constexpr u16 kNotRam = 1 << 9;
  /// Reads find memory and stores go to the bus (ROM, write-protected shadow): `allow` has no stores.
  static constexpr u16 kStoresToBus = 1 << 12;
  /// Flags bits 11..10: 0: a 4 KiB page; 1, 2, 3: part of a 2 MiB, 4 MiB, 1 GiB page.
  static constexpr unsigned kSizeShift = 10;
};

class Mmu {
 public:
  static constexpr unsigned kTlbBits = 11;
  static constexpr u64 kTlbSize = u64{1} << kTlbBits;

  /// `stamp_limit`: for tests, how many flushes it takes until the TLB's stamps start over.
  Mmu(AddressSpace& space, VcpuBoard& board, VcpuState& state, x86::Exception& fault,
      u32 stamp_limit = ~u32{0});

  /// What the CPU model says about paging structures; to be called before the first access if it differs from
  /// PagingFeatures' defaults.
  void set_paging_features(const PagingFeatures& features);
  const PagingFeatures& paging_features() const { return features_; }

  /// Recomputes what CPL, CR0, CR4, EFER, EFLAGS.AC and DR7 imply for accesses. To be called after a change
  /// of any; cheap. Does not flush: CR0.PG, CR0.WP, CR4.PSE, PAE, PGE, SMEP, EFER.NXE, LMA and the address of
  /// the xAPIC page are baked into cached translations, and who changes one calls flush_all().
  void update_context();
  /// Every data access takes the slow path now (data breakpoints, alignment checks): whoever handles several
  /// elements of a repeated instruction at once must go one by one.
  bool accesses_are_watched() const { return shift_ == kShiftSlow; }

  // --- Accesses at the current privilege. `seg` only says whether a non-canonical address is #SS or #GP. ---
  template <class T>
  [[nodiscard]] bool read(u64 address, T& value, x86::Seg seg = x86::Seg::kDs) {
    const TlbEntry& e = entry(address);
    if (hit(e, address, kAllowRead) && fits<T>(address)) [[likely]] {
      value = guest_load<T>(host_of(e, address));
      return true;
    }
    u64 raw = 0;
    if (!read_slow(address, sizeof(T), raw, seg, Privilege::kCurrent)) return false;
    value = static_cast<T>(raw);
    return true;
  }

  template <class T>
  [[nodiscard]] bool write(u64 address, T value, x86::Seg seg = x86::Seg::kDs) {
    const TlbEntry& e = entry(address);
    if (hit(e, address, kAllowWrite) && fits<T>(address)) [[likely]] {
      guest_store<T>(host_of(e, address), value);
      if (e.code->chunks.load(std::memory_order_relaxed) != 0) [[unlikely]]
        note_code_store(e, address, sizeof(T));
      return true;
    }
    return write_slow(address, sizeof(T), static_cast<u64>(value), seg, Privilege::kCurrent);
  }

  /// For read-modify-write: a host pointer to `size` bytes (1 to 4096) of RAM within one page that may be
  /// written now, or nullptr if the access must go another way (MMIO, a page crossing, more than 16 bytes
  /// while accesses are watched) or faulted: then `faulted` tells. A fault is reported as for a write, and
  /// breakpoints are matched. After writing, call wrote().
  u8* pointer_for_write(u64 address, unsigned size, x86::Seg seg, bool& faulted) {
    const TlbEntry& e = entry(address);
    faulted = false;
    if (hit(e, address, kAllowWrite) && (address & kPageMask) + size <= kPageSize) [[likely]]
      return host_of(e, address);
    return pointer_slow(address, size, seg, Access::kWrite, faulted);
  }
  u8* pointer_for_read(u64 address, unsigned size, x86::Seg seg, bool& faulted) {
    const TlbEntry& e = entry(address);
    faulted = false;
    if (hit(e, address, kAllowRead) && (address & kPageMask) + size <= kPageSize) [[likely]]
      return host_of(e, address);
    return pointer_slow(address, size, seg, Access::kRead, faulted);
  }
  /// Bytes at `address` were changed through pointer_for_write(); no other access was made in between.
  void wrote(u64 address, unsigned size) {
    const TlbEntry& e = entry(address);
    if (e.page != address >> kPageShift || e.code->chunks.load(std::memory_order_relaxed) != 0) [[unlikely]]
      note_code_store(e, address, size);
  }

  /// Any size from 1 to 4096 bytes, any alignment; all or nothing with respect to faults (MMIO aside). Under
  /// alignment checking, up to 64 bytes count as one operand, more as bytes.
  [[nodiscard]] bool read_bytes(u64 address, void* to, unsigned size, x86::Seg seg = x86::Seg::kDs);
  [[nodiscard]] bool write_bytes(u64 address, const void* from, unsigned size, x86::Seg seg = x86::Seg::kDs);
  /// Whether `size` bytes (1 to 4096) could be accessed; records the fault if not. No data moves; A and D
  /// bits do.
  [[nodiscard]] bool probe(u64 address, unsigned size, Access access, x86::Seg seg = x86::Seg::kDs,
                           Privilege privilege = Privilege::kCurrent);

  // --- Accesses at another privilege ---
  [[nodiscard]] bool read_as(Privilege privilege, u64 address, unsigned size, u64& value,
                             x86::Seg seg = x86::Seg::kDs) {
    return read_slow(address, size, value, seg, privilege);
  }
  [[nodiscard]] bool write_as(Privilege privilege, u64 address, unsigned size, u64 value,
                              x86::Seg seg = x86::Seg::kDs) {
    return write_slow(address, size, value, seg, privilege);
  }

  // --- Instruction fetch ---
  /// Where the instruction byte at linear address `address` stands. False: a fetch fault was recorded. `host`
  /// is nullptr if it is not RAM.
  struct FetchPage {
    GuestPhys physical;        ///< for memory its name (GuestRam): what decoded code is known by
    const u8* host = nullptr;  ///< of the byte itself; good to the end of its page
  };
  [[nodiscard]] bool fetch(u64 address, FetchPage& page);
  /// Fetch from memory-mapped I/O (ROM behind a device), one byte.
  u8 fetch_mmio_byte(GuestPhys a);

  // --- TLB maintenance (SDM vol. 3A §4.10.4) ---
  void flush_all();              ///< every entry, global ones too
  void flush_non_global();       ///< the current PCID's non-global entries (MOV to CR3 without NOFLUSH)
  void flush_page(u64 address);  ///< INVLPG: the current PCID's and global entries for the page
  void flush_pcid(u16 pcid);     ///< INVPCID type 1
  void flush_pcid_page(u16 pcid, u64 address);  ///< INVPCID type 0: not global ones
  void flush_all_non_global();                  ///< INVPCID type 3
  /// CR3 or CR4.PCIDE changed: entries of the new PCID count from now on.
  void switch_address_space(u16 pcid);

  /// Another one whenever a translation that fetch() gave for the half of the address space that `address` is
  /// in could have changed; the same as before when that translation counts again (code_map.hpp). Whoever
  /// caches guest-virtual pc → code keeps it with the CPL (fetch permission depends on both) and compares
  /// both.
  u64 code_map_stamp(u64 address) const { return code_map_.stamp(address); }

  // --- A translating engine's own fast table (front_tlb.hpp) ---
  /// `front` outlives this; from now on it follows every flush and change of context.
  void attach_front(FrontTlb& front);
  /// After an access at `address` succeeded: what the TLB holds for it goes into the front table.
  void fill_front(u64 address) {
    const TlbEntry& e = entry(address);
    if (e.page != address >> kPageShift || !counts(e)) return;
    const unsigned allow = e.allow >> shift_;
    front_->insert(address, (allow & kAllowRead) != 0, (allow & kAllowWrite) != 0, e.host_delta, e.code);
  }
  // --- And its flat tables (flat_tables.hpp) ---
  /// `flat` outlives this; from now on it follows every flush and change of context.
  void attach_flat(FlatTables& flat);
  /// After an access at `address` succeeded: what the TLB holds for it goes into the selected table, for a
  /// large page together with its neighbours. False: that changed nothing for this page.
  bool fill_flat(u64 address);
  /// As fill_flat(), ahead of an access, as a processor may (SDM vol. 3A §4.10.2.3): what a walk would give
  /// without changing anything in the guest. Without `displace`, not in another page's place.
  bool fill_flat_ahead(u64 address, bool displace = true);
  /// The same for the pages near that of `address`, as far as they displace no others.
  void fill_flat_around(u64 address);
  /// After a store at `address` that its flat table refused: GuestRam::forget_old_code() of its page.
  bool forget_old_code(u64 address) {
    const TlbEntry& e = entry(address);
    return e.page == address >> kPageShift && (e.flags & TlbEntry::kNotRam) == 0 &&
           space_.ram.forget_old_code(physical_of(host_of(e, address)));
  }
  /// The code tracking of the page that pointer_for_write() just gave a pointer into.
  CodePage* tracked(u64 address) const { return entry(address).code; }
  /// As wrote(), for `size` bytes of guest RAM within one page, known by their host address.
  void wrote_host(const u8* host, unsigned size) {
    if (!space_.ram.note_store(physical_of(host), size)) return;
    code_was_written = true;
    stats.code_stores.add();
  }

  /// Guest-physical address behind `address` for debuggers and monitors: no faults, no A/D bits, no TLB.
  /// False if not mapped.
  bool translate_quietly(u64 address, GuestPhys& physical);

  /// Set when a store of this vCPU hit tracked code, so that the running unit may be stale, or a device, so
  /// that an interrupt may be due, since it was last cleared: the unit ends after the instruction.
  bool code_was_written = false;
  /// DR6 bits B0-B3 of data and I/O breakpoints that matched since last cleared; the engine raises the #DB
  /// trap after the instruction.
  u32 breakpoint_hits = 0;
  Tracer trace;

  struct Stats {
    Counter slow_reads, slow_writes, walks, page_faults, mmio_reads, mmio_writes, flushes, page_flushes,
        code_stores;
  } stats;

 private:
  static constexpr unsigned kAllowRead = rights::kRead, kAllowWrite = rights::kWrite;
  // Contexts: user; supervisor under SMAP (AC = 0); supervisor free of it (AC = 1 or no SMAP). kShiftSlow
  // selects bits that are always 0, so that every access takes the slow path (data breakpoints, alignment
  // checks).
  static constexpr unsigned kShiftUser = rights::kUser, kShiftSupervisorSmap = rights::kSupervisorSmap,
                            kShiftSupervisor = rights::kSupervisor, kShiftSlow = rights::kNobody;
  static_assert(sizeof(TlbEntry) == 32);

  // Where one access within one page goes: memory (host and code are set), or `physical`, which is then an
  // address: usually the bus, but see load(). For memory it is the name (GuestRam).
  struct Target {
    u8* host = nullptr;
    CodePage* code = nullptr;
    GuestPhys physical;
  };
  // An access cut at the page boundary: `second` counts if first_size is less than the whole.
  struct Span {
    Target first, second;
    unsigned first_size = 0;
  };

  const TlbEntry& entry(u64 address) const { return tlb_[(address >> kPageShift) & (kTlbSize - 1)]; }
  bool hit(const TlbEntry& e, u64 address, unsigned allow) const {
    return e.page == address >> kPageShift && (e.stamp == stamp_ || e.stamp == global_stamp_) &&
           ((e.allow >> shift_) & allow) != 0;
  }
  template <class T>
  static bool fits(u64 address) {
    return sizeof(T) == 1 || (address & kPageMask) <= kPageSize - sizeof(T);
  }
  static u8* host_of(const TlbEntry& e, u64 address) { return reinterpret_cast<u8*>(address + e.host_delta); }

  // mmu.cpp
  bool read_slow(u64 address, unsigned size, u64& value, x86::Seg seg, Privilege privilege);
  bool write_slow(u64 address, unsigned size, u64 value, x86::Seg seg, Privilege privilege);
  u8* pointer_slow(u64 address, unsigned size, x86::Seg seg, Access access, bool& faulted);
  bool read_any(u64 address, void* to, unsigned size, x86::Seg seg, Privilege privilege);
  bool write_any(u64 address, const void* from, unsigned size, x86::Seg seg, Privilege privilege);
  bool check(u64 address, unsigned size, x86::Seg seg, Privilege privilege);
  bool locate_span(u64 address, unsigned size, Access access, Privilege privilege, Span& span);
  void load(const Target& target, u8* to, unsigned size);
  void store(const Target& target, const u8* from, unsigned size);
  void note_code_store(const TlbEntry& e, u64 address, unsigned size);
  void match_breakpoints(u64 address, unsigned size, Access access);
  void raise(u8 vector, u32 error_code, u64 address = 0);
  u64 second_page(u64 address) const;

  // tlb.cpp
  bool locate(u64 address, Access access, unsigned context, Target& target);
  TlbEntry* fill(u64 address, Access access, unsigned context, GuestPhys& page);
  unsigned context_of(Privilege privilege) const;
  bool counts(const TlbEntry& e) const { return e.stamp == stamp_ || e.stamp == global_stamp_; }
  void drop_page(u64 address, u32 stamp, u32 other_stamp);
  void drop_fragments(u64 address, unsigned size_class, u32 stamp, u32 other_stamp);
  void page_fault(u64 address, u32 error_code);
  void rebuild_large_pages();
  void adopt_stamps(bool started_over);
  void select_front();
  void select_flat();
  bool flat_is_shared() const;
  GuestPhys physical_of(const u8* host) const { return space_.ram.name_of(host); }

  AddressSpace& space_;
  VcpuBoard& board_;
  VcpuState& state_;
  x86::Exception& fault_;

  PagingFeatures features_;

  std::unique_ptr<std::array<TlbEntry, kTlbSize>> tlb_storage_;
  TlbEntry* tlb_;         ///< = tlb_storage_->data()
  u32 stamp_ = 0;         ///< of the current address space's non-global entries: stamps_.current()
  u32 global_stamp_ = 0;  ///< of global entries: stamps_.global()
  u32 shift_ = kShiftSupervisor;
  u32 context_ = kShiftSupervisor;  ///< as shift_, but never kShiftSlow
  bool alignment_checked_ = false;  ///< CR0.AM, EFLAGS.AC and CPL 3
  bool data_watched_ = false;       ///< a data breakpoint is enabled
  bool smap_ = false;               ///< CR4.SMAP
  TlbStamps stamps_;
  FrontTlb* front_ = nullptr;
  FlatTables* flat_ = nullptr;
  CodePage no_code_;  ///< what entries without RAM point to; stays empty
  /// Large pages of which the TLB may hold a part, by size class. One for each: what is thought to be a part
  /// of a huge page empties all that is fast.
  std::array<PageFilter, 4> large_pages_{};
  u32 fruitless_scans_ =
      0;  ///< searches for parts of a large page that found none since the filter was rebuilt
  CodeMap code_map_;
};

}  // namespace vellum
