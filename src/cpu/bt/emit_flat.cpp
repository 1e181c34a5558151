// Memory operands through the flat table (docs/design/flat-table.md): what may not be accessed faults in the
// host, so nothing is compared and the host's flags survive.
//
//   lea  r15, [base + disp + size - 1]        base + disp: the operand's address
//   rorx r15, r15, 12
//   lea  r14, [base + disp]
//   rorx r14, r14, 12
//   lea  r14d, [r14 + r15]                    what ROR brought to the top is cut off
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

// R14 := the slot's number for an access from byte base + first to byte base + last. `spare` is taken.
void Emitter::flat_index(const a::Gp& base, i32 first, i32 last, const a::Gp& spare) {
  const auto page = [this, &base](const a::Gp& to, i32 disp) {
    if (disp != 0) as_.lea(to, a::ptr(base, disp));
    as_.rorx(to, disp != 0 ? to : base, kPageShift);
  };
  if (last != first) page(spare, last);
  page(kT1, first);
  as_.lea(kT1.r32(), a::ptr(kT1, last != first ? spare : kT1));
}

// The operand at base + disp, which shares its slot: the leader looks it up for the range of all of them.
// R15 and R14 are taken; the operand needs R14 and `base`.
a::Mem Emitter::shared_access(const a::Gp& base, i64 disp, unsigned size, bool write) {
  const Share& share = shares_[n_];
  const a::Mem slot = field(offsetof(Context, shared) + 8 * (share.number - 1u), 8);
  const auto d = static_cast<i32>(disp);
  const bool leads = share.leader == n_;
  if (leads) {
    flat_index(base, d + share.from, d + share.to - 1, kT2);
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
  const auto d = static_cast<i32>(disp);
  flat_index(base, d, d + static_cast<i32>(size) - 1, spare);
  as_.mov(spare, field(offsetof(Context, flat_slots), 8));
  Site& site = open_flat(size, write);
  site.base = static_cast<i8>(base.id());
  site.disp = static_cast<u64>(disp);
  as_.mov(kT1, a::ptr(spare, kT1, 3));
  return a::ptr(base, kT1, 0, d, size);
}

a::Mem Emitter::flat_constant(u64 address, unsigned size, bool write) {
  as_.mov(kT1.r32(), asmjit::imm(FlatTables::index(address, address + size - 1)));
  const bool short_form = fits_32(static_cast<i64>(address));
  as_.mov(kT2, field(offsetof(Context, flat_slots), 8));
  Site& site = open_flat(size, write);
  site.disp = address;
  as_.mov(kT1, a::ptr(kT2, kT1, 3));
  if (short_form) return a::ptr(kT1, static_cast<i32>(address), size);
  load_constant(kT2, address);
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
