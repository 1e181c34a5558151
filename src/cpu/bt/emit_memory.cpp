// The one seam of memory operands: a guest address goes in, a host operand comes out, based on R14 (and, for
// a store, R15 as the page's CodePage, for stored()). Takes RAX; the host's flags do not survive.
#include "cpu/bt/emitter.hpp"

namespace vellum::bt {

namespace {

constexpr i64 tlb_at(std::size_t offset_in_entry) {
  return static_cast<i64>(offsetof(Context, tlb) + offsetof(FrontTlb, entries) + offset_in_entry);
}
constexpr i64 kTlbContext = offsetof(Context, tlb) + offsetof(FrontTlb, context);

}  // namespace

void Emitter::load_constant(const a::Gp& to, u64 value) {
  if (value == static_cast<u32>(value))
    as_.mov(to.r32(), static_cast<u32>(value));
  else
    as_.mov(to, asmjit::imm(static_cast<i64>(value)));
}

// R14 := the guest's linear address. May change the host's flags only where a segment base is added.
void Emitter::address_of(const ZydisDecodedOperand& operand, bool with_segment) {
  const auto& m = operand.mem;
  const bool narrow = insn_->info.address_width == 32;
  const i64 disp = m.disp.has_displacement ? m.disp.value : 0;
  const bool relative = m.base == ZYDIS_REGISTER_RIP || m.base == ZYDIS_REGISTER_EIP;
  if (relative || (m.base == ZYDIS_REGISTER_NONE && m.index == ZYDIS_REGISTER_NONE)) {
    const u64 value = static_cast<u64>(disp) + (relative ? next_rip_ : 0);
    load_constant(kT1, narrow ? static_cast<u32>(value) : value);
  } else {
    const auto in_host = [&](ZydisRegister r, const a::Gp& scratch) -> a::Gp {
      const unsigned n = x86::general_register_number(r);
      if (kHostOf[n] != kInMemory) return a::gpq(static_cast<u32>(kHostOf[n]));
      as_.mov(scratch, d_.gpr(n));
      return scratch;
    };
    const u32 shift = shift_of(m.scale);
    const a::Gp to = narrow ? kT1.r32() : kT1;
    if (m.base == ZYDIS_REGISTER_NONE) {
      as_.lea(to, a::ptr(static_cast<u64>(disp), in_host(m.index, kT2), shift));
    } else if (m.index == ZYDIS_REGISTER_NONE) {
      const a::Gp base = in_host(m.base, kT1);
      if (disp != 0)
        as_.lea(to, a::ptr(base, static_cast<i32>(disp)));
      else if (narrow || base != kT1)
        as_.mov(to, narrow ? base.r32() : base);
    } else {
      const a::Gp base = in_host(m.base, kT1);
      as_.lea(to, a::ptr(base, in_host(m.index, kT2), shift, static_cast<i32>(disp)));
    }
  }
  if (with_segment) add_segment_base(operand);
}

void Emitter::add_segment_base(const ZydisDecodedOperand& operand) {
  const auto& m = operand.mem;
  if (m.segment == ZYDIS_REGISTER_FS || m.segment == ZYDIS_REGISTER_GS) {
    const auto seg = m.segment == ZYDIS_REGISTER_FS ? x86::Seg::kFs : x86::Seg::kGs;
    if (source_.wide) {
      as_.add(kT1, d_.segment_base(seg));
      return;
    }
    limited_ = as_.newLabel();
    if (operand.size > 8) {  // over 4 GiB of the segment, which need not be the end of a page
      as_.cmp(kT1.r32(), -(operand.size / 8));
      as_.ja(*limited_);
    }
    as_.cmp(field(offsetof(Context, limited) + (seg == x86::Seg::kGs ? 1 : 0), 1), 0);
    as_.jne(*limited_);
    as_.add(kT1.r32(), d_.segment_base(seg).cloneResized(4));
    host_ = 0;
  }
}

// The host operand of `size` bytes at the guest-linear address in R14.
a::Mem Emitter::look_up(unsigned size, bool write, bool stack) {
  Slow slow{as_.newLabel(), as_.newLabel(), as_.newLabel(), &make_site(size, write)};
  if (limited_) call_out_if_limited(slow);
  slow.site->seg = stack ? static_cast<u8>(x86::Seg::kSs) : slow.site->insn->seg;
  // The last byte's page is compared with the first byte's entry: a crossing misses.
  if (size > 1)
    as_.lea(kT0, a::ptr(kT1, static_cast<i32>(size - 1)));
  else
    as_.mov(kT0, kT1);
  as_.mov(kT2.r32(), kT1.r32());
  as_.shr(kT2.r32(), static_cast<u32>(kPageShift) - 5);  // 32 bytes an entry
  as_.and_(kT2.r32(), static_cast<u32>((FrontTlb::kSize - 1) * sizeof(FrontTlb::Entry)));
  as_.and_(kT0, asmjit::imm(-static_cast<i64>(kPageSize)));
  as_.or_(kT0, field(kTlbContext, 8));
  as_.cmp(
      kT0,
      gs_at(kT2, tlb_at(write ? offsetof(FrontTlb::Entry, write_tag) : offsetof(FrontTlb::Entry, read_tag)),
            8));
  as_.jne(slow.from);
  as_.add(kT1, gs_at(kT2, tlb_at(offsetof(FrontTlb::Entry, delta)), 8));
  if (write) as_.mov(kT2, gs_at(kT2, tlb_at(offsetof(FrontTlb::Entry, code)), 8));
  as_.bind(slow.resume);
  slow_.push_back(slow);
  open_ = true;
  host_ = 0;
  return a::ptr(kT1, 0, size);
}

// Where the segment of the operand may refuse it, the handler does the whole instruction.
void Emitter::call_out_if_limited(const Slow& slow) {
  vectors_ &= vectors_needed(n_ + 1);  // the handler's way loads no more
  cold_.push_back([this, from = *limited_, &site = *slow.site, n = slow_.size(), first = n_ + 1] {
    const asmjit::Label done = as_.newLabel();
    as_.bind(from);
    site_to_scratch(site);
    as_.call(field(offsetof(Context, call_out), 8));
    load_vectors_again(done, site.next_rip, first);
    as_.bind(done);
    if (slow_[n].restore_flags) unpack_host_flags();
    as_.jmp(slow_[n].skip);
  });
  limited_.reset();
}

// After the store through R14: whether it hit code. The flags have been saved.
void Emitter::stored() {
  if (flat_open_) return;  // a store to code faults
  CodeStore store{as_.newLabel(), as_.newLabel(), slow_.back().site};
  as_.cmp(a::qword_ptr(kT2), 0);
  static_assert(offsetof(CodePage, chunks) == 0);
  as_.jne(store.from);
  as_.bind(store.resume);
  code_stores_.push_back(store);
  host_ = 0;
}

// Where the slow path goes on when the interpreter's handler did the whole instruction: then the flags are
// packed.
void Emitter::end_access() {
  if (flat_open_) close_flat();
  if (!open_) return;
  open_ = false;
  slow_.back().restore_flags = host_ != 0;
  as_.bind(slow_.back().skip);
}

a::Mem Emitter::memory_operand(const ZydisDecodedOperand& operand, unsigned size, bool write) {
  if (flat_here()) return flat_operand(operand, size, write);
  address_of(operand);
  return look_up(size, write);
}

// A word of the guest's stack at base + disp.
a::Mem Emitter::stack_operand(const a::Gp& base, i32 disp, bool write) {
  if (flat_here()) {
    a::Mem operand = shares_[n_].number != 0 ? shared_access(base, disp, 8, write)
                                             : flat_access(base, disp, kT2, 8, write);
    fault_spots_.back().site->seg = static_cast<u8>(x86::Seg::kSs);
    return operand;
  }
  const a::Gp address = sized(kT1, word());
  if (disp == 0)
    as_.mov(address, sized(base, word()));
  else
    as_.lea(address, a::ptr(base, disp));
  return look_up(word(), write, true);
}

void Emitter::move_stack_pointer(i32 by) {
  const a::Gp rsp = a::gpq(static_cast<u32>(kHostOf[x86::kRsp]));
  as_.lea(sized(rsp, word()), a::ptr(rsp, by));
}

}  // namespace vellum::bt
