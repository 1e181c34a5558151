// What translated code reaches through the GS segment: one block per vCPU, with the vCPU itself at a fixed
// distance.
//
// In translated code host registers stand for guest ones (kHostOf); RAX, R14 and R15 are scratch, RSP is the
// return stack's (return_stack.hpp). The guest's four registers without a host register, and everything else,
// are in memory.
#pragma once

#include <array>
#include <atomic>

#include "cpu/interp/insn.hpp"
#include "cpu/interp/unit.hpp"
#include "cpu/mmu/front_tlb.hpp"

namespace vellum::bt {

/// The arithmetic flags as LAHF and SETO AL leave them in AX: bits 15..8 are SF ZF 0 AF 0 PF 1 CF, bit 0 is
/// OF.
constexpr u16 pack_flags(u64 rflags) {
  return static_cast<u16>((rflags & 0xd5) << 8 | ((rflags >> 11) & 1));
}
constexpr u64 unpack_flags(u16 packed) {
  return ((u64{packed} >> 8) & 0xd5) | (u64{packed} & 1) << 11;
}

inline constexpr int kInMemory = -1;
/// The host register of each guest one.
inline constexpr std::array<int, 16> kHostOf = {11, 1, 2,  3,         13, 5,         6,         7,
                                                8,  9, 10, kInMemory, 12, kInMemory, kInMemory, kInMemory};

/// One place in translated code that may call out: all that the callee must know of the instruction there.
/// There are several for each unit, so they are small.
struct Site {
  const interp::Insn* insn = nullptr;  ///< the unit's (UnitRunner::units_replaced())
  u64 next_rip = 0;                    ///< of the instruction after this one
  // Through a flat table: what the fault of the host there means.
  u64 disp = 0;  ///< the operand's address is this + host register `base`; of a return: what it adds to RSP
  const u8* resume = nullptr;   ///< behind the instruction, all flags in the host's
  void* translation = nullptr;  ///< Translator's

  i32 after = 0;             ///< where to go on after the instruction, if it stores: this + next_rip
  mutable u32 since_ms = 0;  ///< of `useful`, on the host's monotonic clock
  u16 mnemonic = 0;
  u16 fresh = 0;                       ///< flags, packed, that only the host's hold
  i16 shared_from = 0, shared_to = 0;  ///< the range of `shared`, relative to this operand's address
  u16 fip_behind = 0;  ///< if not 0, the state's FIP is to become next_rip minus this first: the last x87
                       ///< instruction before this one
  i8 base = -1;        ///< -1: none
  u8 rest = 0;         ///< instructions of the unit after this one
  u8 position = 0;     ///< of the instruction in its unit
  u8 shared = 0;       ///< 1 + number in Context::shared of the slot that several operands share; 0: none
  u8 leader = 0;       ///< the instruction that looks that up
  u8 size = 0;         ///< of the memory operand
  u8 seg = static_cast<u8>(x86::Seg::kDs);  ///< of the memory operand
  mutable u8 futile = 0;                    ///< faults that no fill of the table would have spared
  mutable u8 useful = 0;                    ///< others, of the vCPU that had the last
  mutable u8 useful_by = 0;                 ///< which that was
  mutable u8 displacing = 0;                ///< faults whose page took another's place in the table
  bool write = false;
  bool sets_fip = false;         ///< the instruction is the last x87 one once it is done
  bool after_is_target = false;  ///< after it at Context::target
  bool poll = false;             ///< not an access: Context::poll was read, before the instruction
};

/// Where indirect jumps, and direct ones to other pages, find translations by guest-virtual address: a table
/// for each (mapping of one half of the address space, privilege). Addresses are compared whole, so one that
/// is not canonical is never found.
struct JumpTable {
  static constexpr u64 kSize = 16384;
  static constexpr u64 kMask = kSize - 1;

  std::array<u64, kSize> negated;        ///< minus the address
  std::array<const u8*, kSize> entries;  ///< its code
  /// The slots that were filled, while they are few: a short-lived address space fills few.
  std::array<u16, 512> filled;
  u32 fills = 0;  ///< at most one more than that

  JumpTable() {
    fills = kSize;  // all of them
    clear();
  }
  /// Translated code computes the same.
  static u64 index(u64 address) { return ((address >> 7 | address << 57) + address) & kMask; }
  const u8* find(u64 address) const {
    const u64 n = index(address);
    return negated[n] + address == 0 ? entries[n] : nullptr;
  }
  void insert(u64 address, const u8* entry) {
    const u64 n = index(address);
    if (fills < filled.size()) filled[fills] = static_cast<u16>(n);
    if (fills <= filled.size()) ++fills;
    negated[n] = -address;
    entries[n] = entry;
  }
  void replace(u64 address, const u8* before, const u8* entry) {
    const u64 n = index(address);
    if (negated[n] + address == 0 && entries[n] == before) entries[n] = entry;
  }
  /// An empty slot holds an address that is looked for in another one.
  void clear() {
    if (fills <= filled.size()) {
      for (u32 n = 0; n < fills; ++n) empty(filled[n]);
    } else {
      for (u64 n = 0; n < kSize; ++n) empty(n);
    }
    fills = 0;
  }

 private:
  void empty(u64 n) { negated[n] = n == index(0) ? ~u64{0} : 0; }
};
static_assert(offsetof(JumpTable, negated) == 0);

/// Why translated code returned.
enum class Leave : u64 {
  kJump,    ///< RIP is at an instruction boundary; nothing translated is known there, or a hazard waits
  kLink,    ///< as kJump, at a direct jump that could be linked: Context::link
  kFlow,    ///< an instruction ended with Context::flow
  kClosed,  ///< as kJump, before vector instructions that may not run natively (open_vectors())
};

struct alignas(64) Context {
  i64 left = 0;   ///< instructions of the budget not yet begun
  u16 flags = 0;  ///< packed arithmetic flags: the guest's whenever host flags are not
  u32 link = 0;
  u64 target = 0;         ///< of an indirect call, or the value to push, across the push
  u64 host_tsc_lead = 0;  ///< Clock::host_tsc_lead()
  u64 scratch = 0;
  u64 entry = 0;  ///< host code of an indirect call's target, across the push
  // While something pends, whoever set it has changed these two, so that nobody needs to look:
  std::atomic<const void*> poll{};  ///< something to read, then nothing that can be
  std::array<std::atomic<const void*>, 2>
      jump_table{};  ///< of the lower and the upper half of the address space, then empty ones
  std::array<u32, 2> code_serial{};  ///< ContextNumbers::select() of each
  /// What code_serial and jump_table become at CPL 0 and CPL 3 of 64-bit code, for translated code that
  /// changes the privilege by itself (privilege_routines.hpp). A serial of 0: not known.
  struct Gate {
    std::array<u32, 2> code_serial{};
    std::array<const JumpTable*, 2> tables{};
  };
  std::array<Gate, 2> gates{};
  /// It has changed CPL or EFLAGS.AC, and C++ has not yet looked (Translator::adopt_privilege()).
  bool privilege_changed = false;
  interp::Flow flow = interp::Flow::kNext;
  u64 host_stack = 0;                 ///< RSP of the C++ that entered translated code
  u64 return_stack = 0;               ///< RSP of translated code (ReturnStack) while C++ runs
  const Site* return_site = nullptr;  ///< of the return that is being looked up
  /// Where a return goes that was not expected in code of this half of the address space: its target in RAX,
  /// its Site in R15.
  std::array<const u8*, 2> return_unknown{};
  // To empty the return stack: its bottom, and what is there.
  u64 return_bottom = 0;
  std::array<const u8*, 2> return_beyond{};
  // Vector and x87 state (vector_state.hpp).
  u32 vectors = 0;       ///< VectorBits: what the host's registers hold
  u32 reload = 0;        ///< what they held when C++ was called, and hold again when a slow access returns
  u64 data_address = 0;  ///< of an x87 instruction's operand, before it is known not to fault
  u32 host_mxcsr = 0x1f80;
  u16 host_fcw = 0x37f;
  alignas(64) std::array<u8, 512> fx_image{};
  void* owner = nullptr;
  // Entry points of the routines that units share.
  const u8* leave_jump = nullptr;
  const u8* leave_link = nullptr;
  const u8* call_out = nullptr;
  const u8* slow_access = nullptr;
  const u8* code_store = nullptr;
  const u8* leave_closed = nullptr;
  const u8* load_vectors = nullptr;
  const u8* system_call = nullptr;
  const u8* system_return = nullptr;
  const u64* flat_slots = nullptr;  ///< of the flat table that counts
  std::array<u64, 8> shared{};      ///< what operands of the unit add that share a slot
  u64 jump_mask = JumpTable::kMask;
  const void* hazards = nullptr;  ///< the word that must be 0 before a unit that counts
  /// 32-bit code: FS and GS, not 0 if a reference through them may be refused (is_unlimited()).
  std::array<u8, 2> limited{};

  FrontTlb tlb;

  /// Of each direct jump that may leave its page (LinkSpot::far), minus the code_serial under which this vCPU
  /// may take it. Mostly never touched.
  static constexpr u32 kFarLinks = 1 << 18;
  std::array<u32, kFarLinks> far_serials;
};

}  // namespace vellum::bt
