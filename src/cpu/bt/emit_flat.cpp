// Memory operands through the flat table (docs/design/flat-table.md): what may not be accessed faults in the
// host, so nothing is compared and the host's flags survive.
//
//   lea  r15, [base + disp + size - 1]        base + disp: the operand's address
//   lea  r14, [base + disp]
//   pext r14, r14, mask
//   pext r15, r15, mask
//   lea  r14, [r14 + r15]
//   mov  r15, gs:[flat_slots]
//   mov  r14, [r15 + 8 * r14]                 may fault: no such part of the table
//   op   [base + r14 + disp]                  may fault: absent, read-only, crossing, not canonical
#include "cpu/bt/emitter.hpp"

namespace vellum::bt {

namespace {

bool fits_32(i64 value) {
  return value == static_cast<i32>(value);
}

}  // namespace

bool Emitter::flat_here() const {
  return flat_at(n_);
}

Site& Emitter::open_flat(unsigned size, bool write) {
  Site& site = make_site(size, write);
  // What the instruction is about to lose is not saved if nobody asks for it behind the instruction; at a
  // fault it is still there.
  site.fresh = pack_flags((host_ & ~packed_) | (host_ & unsaved_));
  const Share& share = shares_[n_];
  site.shared = share.number;
  site.leader = share.leader;
  site.shared_from = static_cast<i16>(share.from);
  site.shared_to = static_cast<i16>(share.to);
  fault_spots_.push_back({as_.offset(), 0, 0, &site});
  flat_open_ = true;
  return site;
}

void Emitter::close_flat() {
  fault_spots_.back().end = fault_spots_.back().resume = as_.offset();
  flat_open_ = false;
}

// The operand at base + disp, which shares its slot: the leader looks it up for the range of all of them.
// R15 and R14 are taken; the operand needs R14 and `base`.
a::Mem Emitter::shared_access(const a::Gp& base, i64 disp, unsigned size, bool write) {
  const Share& share = shares_[n_];
  const a::Mem slot = field(offsetof(Context, shared) + 8 * (share.number - 1u), 8);
  const auto d = static_cast<i32>(disp);
  const bool leads = share.leader == n_;
  if (leads) {
    const a::Mem mask = field(offsetof(Context, page_mask), 8);
    as_.lea(kT2, a::ptr(base, d + share.to - 1));
    as_.pext(kT2, kT2, mask);
    if (d + share.from == 0) {
      as_.pext(kT1, base, mask);
    } else {
      as_.lea(kT1, a::ptr(base, d + share.from));
      as_.pext(kT1, kT1, mask);
    }
    as_.lea(kT1, a::ptr(kT1, kT2));
    as_.mov(kT2, field(offsetof(Context, flat_slots), 8));
  } else {
    as_.mov(kT1, slot);
  }
  Site& site = open_flat(size, write);
  site.base = static_cast<i8>(base.id());
  site.disp = static_cast<u64>(disp);
  if (leads) {
    as_.mov(kT1, a::ptr(kT2, kT1, 3));
    as_.mov(slot, kT1);
  }
  return a::ptr(base, kT1, 0, d, size);
}

// The operand at base + disp. `spare` and R14 are taken; the operand needs R14 and `base`.
a::Mem Emitter::flat_access(const a::Gp& base, i64 disp, const a::Gp& spare, unsigned size, bool write) {
  const a::Mem mask = field(offsetof(Context, page_mask), 8);
  const auto d = static_cast<i32>(disp);
  if (size > 1) {
    as_.lea(spare, a::ptr(base, d + static_cast<i32>(size) - 1));
    as_.pext(spare, spare, mask);
  }
  if (d == 0) {
    as_.pext(kT1, base, mask);
  } else {
    as_.lea(kT1, a::ptr(base, d));
    as_.pext(kT1, kT1, mask);
  }
  as_.lea(kT1, a::ptr(kT1, size > 1 ? spare : kT1));
  as_.mov(spare, field(offsetof(Context, flat_slots), 8));
  Site& site = open_flat(size, write);
  site.base = static_cast<i8>(base.id());
  site.disp = static_cast<u64>(disp);
  as_.mov(kT1, a::ptr(spare, kT1, 3));
  return a::ptr(base, kT1, 0, d, size);
}

a::Mem Emitter::flat_constant(u64 address, unsigned size, bool write) {
  const u64 first = bits(address, 46, 12), last = bits(address + size - 1, 46, 12);
  load_constant(kT1, (first + last) * 8);
  const bool short_form = fits_32(static_cast<i64>(address));
  as_.mov(kT2, field(offsetof(Context, flat_slots), 8));
  as_.lea(kT1, a::ptr(kT1, kT2));
  if (!short_form) load_constant(kT2, address);
  Site& site = open_flat(size, write);
  site.disp = address;
  as_.mov(kT1, a::ptr(kT1));
  if (short_form) return a::ptr(kT1, static_cast<i32>(address), size);
  return a::ptr(kT2, kT1, 0, 0, size);
}

a::Mem Emitter::flat_operand(const ZydisDecodedOperand& operand, unsigned size, bool write) {
  const auto& m = operand.mem;
  const bool narrow = insn_->info.address_width == 32;
  const bool based = m.segment == ZYDIS_REGISTER_FS || m.segment == ZYDIS_REGISTER_GS;
  const i64 disp = m.disp.has_displacement ? m.disp.value : 0;
  const bool relative = m.base == ZYDIS_REGISTER_RIP || m.base == ZYDIS_REGISTER_EIP;
  if (relative || (m.base == ZYDIS_REGISTER_NONE && m.index == ZYDIS_REGISTER_NONE)) {
    u64 value = static_cast<u64>(disp) + (relative ? next_rip_ : 0);
    if (narrow) value = static_cast<u32>(value);
    if (!based) return flat_constant(value, size, write);
    load_constant(kT2, value);
  } else {
    const bool base_in_host =
        m.base != ZYDIS_REGISTER_NONE && kHostOf[x86::general_register_number(m.base)] != kInMemory;
    if (shares_[n_].number != 0)
      return shared_access(a::gpq(static_cast<u32>(kHostOf[x86::general_register_number(m.base)])), disp,
                           size, write);
    if (base_in_host && m.index == ZYDIS_REGISTER_NONE && !narrow && !based &&
        fits_32(disp + static_cast<i64>(size)))
      return flat_access(a::gpq(static_cast<u32>(kHostOf[x86::general_register_number(m.base)])), disp, kT2,
                         size, write);
    const auto in_host = [&](ZydisRegister r, const a::Gp& scratch) -> a::Gp {
      const unsigned n = x86::general_register_number(r);
      if (kHostOf[n] != kInMemory) return a::gpq(static_cast<u32>(kHostOf[n]));
      as_.mov(scratch, d_.gpr(n));
      return scratch;
    };
    const u32 shift = shift_of(m.scale);
    const a::Gp to = narrow ? kT2.r32() : kT2;
    const auto d = static_cast<i32>(disp);
    if (m.base == ZYDIS_REGISTER_NONE)
      as_.lea(to, a::ptr(static_cast<u64>(disp), in_host(m.index, kT1), shift));
    else if (m.index == ZYDIS_REGISTER_NONE) {
      const a::Gp base = in_host(m.base, kT2);
      if (base != kT2 || d != 0 || narrow) as_.lea(to, a::ptr(base, d));
    } else
      as_.lea(to, a::ptr(in_host(m.base, kT2), in_host(m.index, kT1), shift, d));
  }
  if (based) {
    as_.mov(kT0, d_.segment_base(m.segment == ZYDIS_REGISTER_FS ? x86::Seg::kFs : x86::Seg::kGs));
    as_.lea(kT2, a::ptr(kT2, kT0));
  }
  return flat_access(kT2, 0, kT0, size, write);
}

}  // namespace vellum::bt
