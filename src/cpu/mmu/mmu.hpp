// The software MMU of one vCPU: guest-virtual accesses through a software TLB, and the slow path behind it (page
// walk with A and D bits, faults, page-crossing accesses, memory-mapped I/O, alignment checks, data breakpoints).
//
// The TLB is what the architecture calls one: it may hold stale translations until software flushes them (INVLPG,
// INVPCID, MOV to CR3/CR4 …), and page tables are never write-traced (SDM vol. 3A §4.10).
//
// Errors: every access returns false after recording a guest exception in `fault()`; nothing was stored then (an
// access that crosses a page checks both pages first).
// Threads: one vCPU's own thread only.
#pragma once

#include <array>
#include <memory>

#include "base/address.hpp"
#include "base/stats.hpp"
#include "cpu/state.hpp"
#include "cpu/vcpu_board.hpp"
#include "memory/address_space.hpp"
#include "x86/exception.hpp"

namespace vellum {

enum class Access : u8 { kRead, kWrite, kExecute };

/// On whose behalf an access is made (SDM vol. 3A §4.6: user-mode, explicit and implicit supervisor-mode accesses).
enum class Privilege : u8 {
  kCurrent,   ///< as CPL, CR4.SMAP and EFLAGS.AC say
  kImplicit,  ///< the processor's own: descriptor tables, TSS, and the like: supervisor, SMAP without regard to AC
  kUser,      ///< as at CPL 3 (checks of inner code on an outer stack's behalf)
  kSupervisor, ///< a push to an inner stack during a privilege change, before CPL changes
};

struct TlbEntry {
  static constexpr u64 kInvalid = ~u64{0};

  u64 page = kInvalid;  ///< guest-virtual page number, all 52 bits: a non-canonical address never matches
  u64 host_delta = 0;   ///< host address = guest-virtual address + host_delta (RAM pages only)
  u32 stamp = 0;        ///< the address space's stamp, or the global one
  u16 allow = 0;        ///< for each context (3 bits each: R, W, X) what needs no slow path; see Mmu::kShift…
  u16 flags = 0;
  CodePage* code = nullptr;  ///< code tracking of the RAM page
};

class Mmu {
 public:
  static constexpr unsigned kTlbBits = 11;
  static constexpr u64 kTlbSize = u64{1} << kTlbBits;

  Mmu(AddressSpace& space, VcpuBoard& board, VcpuState& state, x86::Exception& fault);

  /// Recomputes what CPL, CR0, CR4, EFER, EFLAGS.AC and DR7 imply for accesses. To be called after a change of any;
  /// cheap. Does not flush.
  void update_context();

  // --- Accesses at the current privilege. `seg` only says whether a non-canonical address is #SS or #GP. -----------
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
      if (e.code->chunks.load(std::memory_order_relaxed) != 0) [[unlikely]] note_code_store(e, address, sizeof(T));
      return true;
    }
    return write_slow(address, sizeof(T), static_cast<u64>(value), seg, Privilege::kCurrent);
  }

  /// For read-modify-write: a host pointer to `size` bytes (1 to 64) of RAM within one page that may be written now,
  /// or nullptr if the access must go another way (MMIO, a page crossing, breakpoints armed) or faulted: then `faulted`
  /// tells. A fault is reported as for a write. After writing, call wrote().
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
  /// Bytes at `address` were changed through pointer_for_write().
  void wrote(u64 address, unsigned size) {
    const TlbEntry& e = entry(address);
    if (e.code->chunks.load(std::memory_order_relaxed) != 0) [[unlikely]] note_code_store(e, address, size);
  }

  /// Any size from 1 to 4096 bytes, any alignment; all or nothing with respect to faults (MMIO aside).
  [[nodiscard]] bool read_bytes(u64 address, void* to, unsigned size, x86::Seg seg = x86::Seg::kDs);
  [[nodiscard]] bool write_bytes(u64 address, const void* from, unsigned size, x86::Seg seg = x86::Seg::kDs);
  /// Whether `size` bytes (1 to 4096) could be accessed; records the fault if not. No data moves; A and D bits do.
  [[nodiscard]] bool probe(u64 address, unsigned size, Access access, x86::Seg seg = x86::Seg::kDs,
                           Privilege privilege = Privilege::kCurrent);

  // --- Accesses at another privilege ------------------------------------------------------------------------------
  [[nodiscard]] bool read_as(Privilege privilege, u64 address, unsigned size, u64& value,
                             x86::Seg seg = x86::Seg::kDs) {
    return read_slow(address, size, value, seg, privilege);
  }
  [[nodiscard]] bool write_as(Privilege privilege, u64 address, unsigned size, u64 value,
                              x86::Seg seg = x86::Seg::kDs) {
    return write_slow(address, size, value, seg, privilege);
  }

  // --- Instruction fetch ------------------------------------------------------------------------------------------
  /// Where the instruction byte at linear address `address` stands. False: a fetch fault was recorded. `host` is
  /// nullptr if it is not RAM.
  struct FetchPage {
    GuestPhys physical;
    const u8* host = nullptr;  ///< of the byte itself; good to the end of its page
  };
  [[nodiscard]] bool fetch(u64 address, FetchPage& page);
  /// Fetch from memory-mapped I/O (ROM behind a device), one byte.
  u8 fetch_mmio_byte(GuestPhys a);

  // --- TLB maintenance (SDM vol. 3A §4.10.4) ----------------------------------------------------------------------
  void flush_all();                       ///< every entry, global ones too
  void flush_non_global();                ///< the current PCID's non-global entries (MOV to CR3 without NOFLUSH)
  void flush_page(u64 address);           ///< INVLPG: the current PCID's and global entries for the page
  void flush_pcid(u16 pcid);              ///< INVPCID type 1
  void flush_pcid_page(u16 pcid, u64 address);  ///< INVPCID type 0: not global ones
  void flush_all_non_global();            ///< INVPCID type 3
  /// CR3 or CR4.PCIDE changed: entries of the new PCID count from now on.
  void switch_address_space(u16 pcid);

  /// Raised whenever a translation that an instruction fetch may have used could have changed: whoever caches
  /// guest-virtual pc → code compares it.
  u32 code_map_stamp() const { return code_map_stamp_; }

  /// Guest-physical address behind `address` for debuggers and monitors: no faults, no A/D bits, no TLB. False if
  /// not mapped.
  bool translate_quietly(u64 address, GuestPhys& physical);

  /// Set when a store of this vCPU hit tracked code since it was last cleared: the running unit may be stale.
  bool code_was_written = false;
  /// DR6 bits B0-B3 of data and I/O breakpoints that matched since last cleared; the engine raises the #DB trap after
  /// the instruction.
  u32 breakpoint_hits = 0;

  struct Stats {
    Counter slow_reads, slow_writes, walks, page_faults, mmio_reads, mmio_writes, flushes, page_flushes, code_stores;
  } stats;

 private:
  static constexpr unsigned kAllowRead = 1, kAllowWrite = 2, kAllowExecute = 4;
  // Contexts: user; supervisor under SMAP (AC = 0); supervisor free of it (AC = 1 or no SMAP). kShiftSlow selects bits
  // that are always 0, so that every access takes the slow path (data breakpoints, alignment checks).
  static constexpr unsigned kShiftUser = 0, kShiftSupervisorSmap = 3, kShiftSupervisor = 6, kShiftSlow = 9;

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

  bool read_slow(u64 address, unsigned size, u64& value, x86::Seg seg, Privilege privilege);
  bool write_slow(u64 address, unsigned size, u64 value, x86::Seg seg, Privilege privilege);
  u8* pointer_slow(u64 address, unsigned size, x86::Seg seg, Access access, bool& faulted);
  void note_code_store(const TlbEntry& e, u64 address, unsigned size);

  AddressSpace& space_;
  VcpuBoard& board_;
  VcpuState& state_;
  x86::Exception& fault_;

  std::unique_ptr<std::array<TlbEntry, kTlbSize>> tlb_storage_;
  TlbEntry* tlb_;  ///< = tlb_storage_->data()
  u32 stamp_ = 2;         ///< of the current address space's non-global entries
  u32 global_stamp_ = 1;  ///< of global entries
  u32 shift_ = kShiftSupervisor;
  u32 code_map_stamp_ = 1;
};

}  // namespace vellum
