// Accesses that the inline fast path does not serve. The order of checks is: canonical address, alignment,
// then page faults of the first and of the second page; only then does data move.
#include "cpu/mmu/mmu.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/assert.hpp"
#include "cpu/mmu/breakpoints.hpp"
#include "memory/guest_access.hpp"
#include "x86/registers.hpp"

namespace vellum {
namespace {

// What an operand of `size` bytes must be aligned to under alignment checking (SDM vol. 3A table 6-7): itself
// if a power of two up to 64; 4 for a far pointer (6), 8 for an extended real (10).
constexpr u64 alignment_of(unsigned size) {
  if (size > 64) return 1;
  if (size == 14) return 2;  // FNSTENV and FLDENV with a 16-bit operand size
  return std::has_single_bit(size) || size < 16 ? std::bit_floor(size) : 4;
}

constexpr bool is_bus_size(unsigned size) {
  return size <= 8 && std::has_single_bit(size);
}

// The next piece of a bus access of any size: whole if the bus has that size, else naturally aligned pieces.
constexpr unsigned bus_piece(GuestPhys at, unsigned size) {
  if (is_bus_size(size)) return size;
  unsigned piece = std::min(8u, std::bit_floor(size));
  while (at.value % piece != 0) piece /= 2;
  return piece;
}

template <class T>
void copy_one(void* to, const void* from) {
  guest_store<T>(to, guest_load<T>(from));
}

// One machine access where the size allows it.
void copy_guest(void* to, const void* from, unsigned size) {
  switch (size) {
    case 1:
      return copy_one<u8>(to, from);
    case 2:
      return copy_one<u16>(to, from);
    case 4:
      return copy_one<u32>(to, from);
    case 8:
      return copy_one<u64>(to, from);
    default:
      return guest_copy(to, from, size);
  }
}

}  // namespace

Mmu::Mmu(AddressSpace& space, VcpuBoard& board, VcpuState& state, x86::Exception& fault, u32 stamp_limit)
    : space_(space),
      board_(board),
      state_(state),
      fault_(fault),
      tlb_storage_(std::make_unique<std::array<TlbEntry, kTlbSize>>()),
      tlb_(tlb_storage_->data()),
      stamps_(stamp_limit) {
  for (TlbEntry& e : *tlb_storage_) e.code = &no_code_;
  stamp_ = stamps_.current();
  global_stamp_ = stamps_.global();
  code_map_.select(stamp_);
}

void Mmu::set_paging_features(const PagingFeatures& features) {
  VELLUM_ASSERT(features.physical_bits >= 32 && features.physical_bits <= 52, "{}", features.physical_bits);
  features_ = features;
  flush_all();
}

void Mmu::update_context() {
  const bool user = state_.cpl == 3;
  const bool ac = (state_.rflags & x86::rflags::kAc) != 0;
  const bool smap = (state_.cr4 & x86::cr4::kSmap) != 0;
  if (smap != smap_ && front_ != nullptr) front_->forget_ways();  // flat tables are for other address spaces
  smap_ = smap;
  context_ = user ? kShiftUser : smap && !ac ? kShiftSupervisorSmap : kShiftSupervisor;
  alignment_checked_ = user && ac && (state_.cr0 & x86::cr0::kAm) != 0;
  data_watched_ = watches_data(state_.dr7);
  shift_ = alignment_checked_ || data_watched_ ? kShiftSlow : context_;
  select_front();
}

void Mmu::raise(u8 vector, u32 error_code, u64 address) {
  fault_ = {.vector = vector, .has_error_code = true, .error_code = error_code, .address = address};
}

bool Mmu::check(u64 address, unsigned size, x86::Seg seg, Privilege privilege) {
  if (!x86::is_canonical(address) || !x86::is_canonical(address + size - 1)) {
    raise(seg == x86::Seg::kSs ? x86::kSs : x86::kGp, 0);
    return false;
  }
  if (alignment_checked_ && privilege == Privilege::kCurrent && (address & (alignment_of(size) - 1)) != 0) {
    raise(x86::kAc, 0);
    return false;
  }
  return true;
}

// The page after that of `address`. Linear addresses outside IA-32e mode have 32 bits and wrap.
u64 Mmu::second_page(u64 address) const {
  const u64 next = (address & ~kPageMask) + kPageSize;
  return state_.long_mode_active() ? next : next & 0xffffffff;
}

bool Mmu::locate_span(u64 address, unsigned size, Access access, Privilege privilege, Span& span) {
  const unsigned context = context_of(privilege);
  span.first_size = static_cast<unsigned>(std::min<u64>(size, kPageSize - (address & kPageMask)));
  if (!locate(address, access, context, span.first)) return false;
  return span.first_size == size || locate(second_page(address), access, context, span.second);
}

void Mmu::match_breakpoints(u64 address, unsigned size, Access access) {
  if (data_watched_)
    breakpoint_hits |= match_data_breakpoints(state_.dr, state_.dr7, address, size, access == Access::kWrite);
}

void Mmu::load(const Target& target, u8* to, unsigned size) {
  if (target.host != nullptr) return copy_guest(to, target.host, size);
  const bool apic = target.physical.page_base().value == board_.apic_page();
  if (const u8* const host = apic ? nullptr : space_.ram.host(target.physical); host != nullptr)
    return copy_guest(to, host, size);  // memory that stores do not find
  for (GuestPhys at = target.physical; size > 0;) {
    const unsigned piece = bus_piece(at, size);
    stats.mmio_reads.add();
    const u64 value = apic ? board_.read_apic_page(static_cast<u32>(at.page_offset()), piece)
                           : space_.mmio.read(at.value, piece);
    std::memcpy(to, &value, piece);
    to += piece, at += piece, size -= piece;
  }
}

void Mmu::store(const Target& target, const u8* from, unsigned size) {
  if (target.host != nullptr) {
    copy_guest(target.host, from, size);
    if (target.code->chunks.load(std::memory_order_relaxed) != 0 &&
        space_.ram.note_store(target.physical, size)) {
      code_was_written = true;
      stats.code_stores.add();
    }
    return;
  }
  const bool apic = target.physical.page_base().value == board_.apic_page();
  if (u8* const host = apic ? nullptr : space_.ram.store_host(target.physical); host != nullptr) {
    copy_guest(host, from, size);  // memory that reads do not find
    code_was_written |= space_.ram.note_store(target.physical, size);
    return;
  }
  for (GuestPhys at = target.physical; size > 0;) {
    const unsigned piece = bus_piece(at, size);
    stats.mmio_writes.add();
    u64 value = 0;
    std::memcpy(&value, from, piece);
    if (apic) {
      board_.write_apic_page(static_cast<u32>(at.page_offset()), piece, value);
    } else {
      space_.mmio.write(at.value, piece, value);
    }
    from += piece, at += piece, size -= piece;
  }
  // The device may have raised an interrupt; it is taken at the next instruction, not at the unit's end.
  code_was_written = true;
}

bool Mmu::read_any(u64 address, void* to, unsigned size, x86::Seg seg, Privilege privilege) {
  Span span;
  if (!check(address, size, seg, privilege) || !locate_span(address, size, Access::kRead, privilege, span))
    return false;
  match_breakpoints(address, size, Access::kRead);
  auto* bytes = static_cast<u8*>(to);
  load(span.first, bytes, span.first_size);
  if (span.first_size < size) load(span.second, bytes + span.first_size, size - span.first_size);
  return true;
}

bool Mmu::write_any(u64 address, const void* from, unsigned size, x86::Seg seg, Privilege privilege) {
  Span span;
  if (!check(address, size, seg, privilege) || !locate_span(address, size, Access::kWrite, privilege, span))
    return false;
  match_breakpoints(address, size, Access::kWrite);
  const auto* bytes = static_cast<const u8*>(from);
  store(span.first, bytes, span.first_size);
  if (span.first_size < size) store(span.second, bytes + span.first_size, size - span.first_size);
  return true;
}

bool Mmu::read_slow(u64 address, unsigned size, u64& value, x86::Seg seg, Privilege privilege) {
  stats.slow_reads.add();
  u64 raw = 0;
  if (!read_any(address, &raw, size, seg, privilege)) return false;
  value = raw;
  return true;
}

bool Mmu::write_slow(u64 address, unsigned size, u64 value, x86::Seg seg, Privilege privilege) {
  stats.slow_writes.add();
  return write_any(address, &value, size, seg, privilege);
}

u8* Mmu::pointer_slow(u64 address, unsigned size, x86::Seg seg, Access access, bool& faulted) {
  (access == Access::kWrite ? stats.slow_writes : stats.slow_reads).add();
  Target target;
  faulted = !check(address, size, seg, Privilege::kCurrent);
  // A crossing is left to an access that looks at both pages, which reports its faults too; so are watched
  // accesses that may be several operands. Locked operands (up to 16 bytes) stay one access even under a
  // breakpoint.
  if (faulted || (address & kPageMask) + size > kPageSize || (accesses_are_watched() && size > 16))
    return nullptr;
  faulted = !locate(address, access, context_, target);
  if (faulted || target.host == nullptr) return nullptr;
  match_breakpoints(address, size, access);
  return target.host;
}

bool Mmu::read_bytes(u64 address, void* to, unsigned size, x86::Seg seg) {
  const TlbEntry& e = entry(address);
  if (hit(e, address, kAllowRead) && (address & kPageMask) + size <= kPageSize) {
    guest_copy(to, host_of(e, address), size);
    return true;
  }
  stats.slow_reads.add();
  return read_any(address, to, size, seg, Privilege::kCurrent);
}

bool Mmu::write_bytes(u64 address, const void* from, unsigned size, x86::Seg seg) {
  stats.slow_writes.add();
  return write_any(address, from, size, seg, Privilege::kCurrent);
}

bool Mmu::probe(u64 address, unsigned size, Access access, x86::Seg seg, Privilege privilege) {
  // Alignment is the access's own matter: what is probed may be several operands.
  Span span;
  if (!check(address, 1, seg, privilege) || !check(address + size - 1, 1, seg, privilege)) return false;
  return locate_span(address, size, access, privilege, span);
}

u8 Mmu::fetch_mmio_byte(GuestPhys a) {
  u8 byte = 0;
  load({.host = nullptr, .code = nullptr, .physical = a}, &byte, 1);
  return byte;
}

void Mmu::note_code_store(const TlbEntry& e, u64 address, unsigned size) {
  GuestPhys physical;
  if (e.page == address >> kPageShift) {
    physical = physical_of(host_of(e, address));
  } else if (!translate_quietly(address, physical) || space_.ram.store_host(physical) == nullptr) {
    return;  // the mapping went away under the store: another processor's doing, unordered with it
  }
  if (!space_.ram.note_store(physical, size)) return;
  code_was_written = true;
  stats.code_stores.add();
}

}  // namespace vellum
