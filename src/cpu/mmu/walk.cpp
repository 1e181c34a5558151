#include "cpu/mmu/walk.hpp"

#include <algorithm>

#include "cpu/mmu/paging_formats.hpp"
#include "memory/guest_access.hpp"
#include "x86/exception.hpp"
#include "x86/registers.hpp"

namespace vellum {
namespace {

using paging::Controls;
namespace pte = paging::pte;

// One paging-structure entry as it was read, and where it stands. `host` is nullptr if that is not memory.
template <class Entry>
struct Step {
  const u8* host;
  GuestPhys at;
  Entry entry;
};

template <class Entry>
Step<Entry> load_entry(const AddressSpace& space, GuestPhys at) {
  const u8* host = space.ram.host(
      at);  // GUEST-CONTROLLED: `at` comes from the guest's tables; aligned, so within one page
  const Entry entry = host != nullptr ? guest_load<Entry>(host)
                                      : static_cast<Entry>(space.mmio.read(at.value, sizeof(Entry)));
  return {host, at, entry};
}

// Sets `flags` in the entry if it still is what was read.
template <class Entry>
bool set_flags(const AddressSpace& space, const Step<Entry>& step, Entry flags) {
  const Entry wanted = step.entry | flags;
  if (step.host == nullptr) {  // no bus device offers a locked cycle
    if (static_cast<Entry>(space.mmio.read(step.at.value, sizeof(Entry))) != step.entry) return false;
    space.mmio.write(step.at.value, sizeof(Entry), wanted);
    return true;
  }
  u8* const target = space.ram.store_host(step.at);
  if (target != step.host) {
    // Read-only memory keeps its bits, whatever is stored; so does a shadow that is only written.
    if (target == nullptr) return true;
    guest_store(target, wanted);
    space.ram.note_store(step.at, sizeof(Entry));
    return true;
  }
  Entry expected = step.entry;
  if (!guest_compare_exchange(target, expected, wanted)) return false;
  space.ram.note_store(step.at, sizeof(Entry));  // nothing keeps a guest from executing its page tables
  return true;
}

// §4.6.1 for all contexts at once. `user`, `writable`: U/S and R/W are 1 in every entry; `no_execute`: XD in
// any.
u16 rights_of(bool user, bool writable, bool no_execute, bool write_protect, bool smep) {
  const bool supervisor_writes = writable || !write_protect;
  const unsigned data = rights::kRead | (supervisor_writes ? rights::kWrite : 0);
  const unsigned fetch = no_execute || (smep && user) ? 0 : rights::kExecute;
  const unsigned supervisor = data | fetch;
  const unsigned supervisor_smap = user ? fetch : supervisor;
  const unsigned by_user =
      !user ? 0 : rights::kRead | (writable ? rights::kWrite : 0) | (no_execute ? 0 : rights::kExecute);
  return static_cast<u16>(by_user << rights::kUser | supervisor_smap << rights::kSupervisorSmap |
                          supervisor << rights::kSupervisor);
}

enum class Outcome : u8 { kMapped, kNotPresent, kReserved, kDenied };

struct Request {
  u64 linear;
  Access access;
  unsigned context;
  bool quiet;  ///< no checks, no accessed and dirty bits set
};

template <class Format>
Outcome walk_tables(const AddressSpace& space, const VcpuState& state, const Controls& controls,
                    const Request& request, Translation& out) {
  using Entry = typename Format::Entry;
  std::array<Step<Entry>, Format::kLevels> steps;
  const bool write_protect = (state.cr0 & x86::cr0::kWp) != 0;
  const bool smep = (state.cr4 & x86::cr4::kSmep) != 0;
  const bool globals = (state.cr4 & x86::cr4::kPge) != 0;

  for (;;) {
    u64 table = 0;
    if (!Format::root(controls, request.linear, table)) return Outcome::kNotPresent;
    Entry all = static_cast<Entry>(pte::kUser | pte::kWritable);
    bool no_execute = false;
    unsigned used = 0;
    unsigned level = Format::kLevels - 1;
    for (;; --level) {
      const unsigned shift = 12 + level * Format::kIndexBits;
      const u64 index = (request.linear >> shift) & low_mask(Format::kIndexBits);
      steps[used] = load_entry<Entry>(space, GuestPhys(table + index * sizeof(Entry)));
      const Entry entry = steps[used++].entry;
      if ((entry & pte::kPresent) == 0) return Outcome::kNotPresent;
      const bool leaf = Format::maps_page(controls, level, entry);
      if ((entry & Format::reserved(controls, level, leaf)) != 0) return Outcome::kReserved;
      all &= entry;
      if constexpr (Format::kHasNoExecute) no_execute |= (entry & pte::kNoExecute) != 0;
      if (leaf) break;
      table = Format::table(entry);
    }

    const unsigned shift = 12 + level * Format::kIndexBits;
    Entry leaf = steps[used - 1].entry;
    out.page = GuestPhys((Format::address(leaf, level) | (request.linear & low_mask(shift))) & ~kPageMask);
    out.page_shift = static_cast<u8>(shift);
    out.global = globals && (leaf & pte::kGlobal) != 0;
    out.allow =
        rights_of((all & pte::kUser) != 0, (all & pte::kWritable) != 0, no_execute, write_protect, smep);
    out.accessed = true;
    if (request.quiet) {
      for (unsigned i = 0; i < used; ++i) out.accessed &= (steps[i].entry & pte::kAccessed) != 0;
      if ((leaf & pte::kDirty) == 0) out.allow &= static_cast<u16>(~rights::kAllWrites);
      return Outcome::kMapped;
    }
    if (((out.allow >> request.context) & rights::of(request.access)) == 0) return Outcome::kDenied;

    bool lost = false;
    for (unsigned i = 0; i < used && !lost; ++i) {
      Entry wanted = static_cast<Entry>(pte::kAccessed);
      if (i + 1 == used && request.access == Access::kWrite) wanted |= static_cast<Entry>(pte::kDirty);
      if ((steps[i].entry & wanted) == wanted) continue;
      lost = !set_flags(space, steps[i], wanted);
      if (i + 1 == used) leaf |= wanted;
    }
    if (lost) continue;
    if ((leaf & pte::kDirty) == 0) out.allow &= static_cast<u16>(~rights::kAllWrites);
    return Outcome::kMapped;
  }
}

Outcome walk_mode(PagingMode mode, const AddressSpace& space, const VcpuState& state,
                  const PagingFeatures& features, const Request& request, Translation& out) {
  const Controls controls{state.cr3, state.pdpte, (state.cr4 & x86::cr4::kPse) != 0,
                          (state.msr.efer & x86::efer::kNxe) != 0, features};
  switch (mode) {
    case PagingMode::k4Level:
      return walk_tables<paging::FourLevel>(space, state, controls, request, out);
    case PagingMode::kPae:
      return walk_tables<paging::Pae>(space, state, controls, request, out);
    case PagingMode::k32Bit:
      return walk_tables<paging::ThirtyTwoBit>(space, state, controls, request, out);
    case PagingMode::kNone:
      break;
  }
  out = {.page = GuestPhys(request.linear & ~kPageMask),
         .page_shift = 12,
         .global = false,
         .allow = rights::kAll};
  return Outcome::kMapped;
}

u32 error_code_of(Outcome outcome, PagingMode mode, const VcpuState& state, Access access, unsigned context) {
  u32 code = 0;
  if (outcome != Outcome::kNotPresent) code |= x86::pf::kPresent;
  if (outcome == Outcome::kReserved) code |= x86::pf::kReserved;
  if (access == Access::kWrite) code |= x86::pf::kWrite;
  if (context == rights::kUser) code |= x86::pf::kUser;
  // I/D tells fetches from reads only where the processor can treat them differently (§4.7).
  const bool nx = (state.msr.efer & x86::efer::kNxe) != 0 && mode != PagingMode::k32Bit;
  const bool smep = (state.cr4 & x86::cr4::kSmep) != 0;
  if (access == Access::kExecute && (nx || smep)) code |= x86::pf::kFetch;
  return code;
}

}  // namespace

PagingMode paging_mode(const VcpuState& state) {
  if ((state.cr0 & x86::cr0::kPg) == 0) return PagingMode::kNone;
  if ((state.cr4 & x86::cr4::kPae) == 0) return PagingMode::k32Bit;
  return state.long_mode_active() ? PagingMode::k4Level : PagingMode::kPae;
}

bool walk(const AddressSpace& space, const VcpuState& state, const PagingFeatures& features, u64 linear,
          Access access, unsigned context, Translation& translation, u32& error_code) {
  const PagingMode mode = paging_mode(state);
  const Outcome outcome =
      walk_mode(mode, space, state, features, {linear, access, context, false}, translation);
  if (outcome == Outcome::kMapped) return true;
  error_code = error_code_of(outcome, mode, state, access, context);
  return false;
}

bool walk_quietly(const AddressSpace& space, const VcpuState& state, const PagingFeatures& features,
                  u64 linear, Translation& translation) {
  const Request request{linear, Access::kRead, rights::kSupervisor, true};
  return walk_mode(paging_mode(state), space, state, features, request, translation) == Outcome::kMapped;
}

bool load_pdptes(const AddressSpace& space, const PagingFeatures& features, u64 cr3,
                 std::array<u64, 4>& pdptes) {
  // Table 4-8: bits 2:1, 8:5 and 63:MAXPHYADDR of a present PDPTE are reserved.
  const u64 reserved = bit(1) | bit(2) | (low_mask(9) & ~low_mask(5)) | ~low_mask(features.physical_bits);
  std::array<u64, 4> loaded;
  for (u64 i = 0; i < loaded.size(); ++i) {
    loaded[i] = load_entry<u64>(space, GuestPhys((cr3 & 0xffffffe0) + 8 * i)).entry;
    if ((loaded[i] & pte::kPresent) != 0 && (loaded[i] & reserved) != 0) return false;
  }
  pdptes = loaded;
  return true;
}

}  // namespace vellum
