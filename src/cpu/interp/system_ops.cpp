// Privileged and sensitive instructions on descriptor tables, selectors, control registers and the TLB.
#include "cpu/interp/binding.hpp"
#include "cpu/system/control.hpp"

namespace vellum::interp {
namespace {

Flow finish(bool done) {
  return done ? Flow::kEndUnit : Flow::kFault;
}

bool require_ring0(Vcpu& v) {
  return v.state.cpl == 0 || v.raise_gp(0);
}
// SGDT, SIDT, SLDT, STR, SMSW outside ring 0 fault under CR4.UMIP.
bool allow_store(Vcpu& v) {
  return v.state.cpl == 0 || (v.state.cr4 & x86::cr4::kUmip) == 0 || v.raise_gp(0);
}
// Not recognised in real and virtual-8086 mode.
bool require_protected(Vcpu& v) {
  return (v.state.protected_mode() && !v.state.virtual_8086()) || v.raise_ud();
}

Flow hlt_op(Vcpu& v, const Insn&) {
  if (!require_ring0(v)) return Flow::kFault;
  v.state.activity = Activity::kHalted;
  return Flow::kEndUnit;
}

Flow cli_op(Vcpu& v, const Insn&) {
  return cli(v) ? Flow::kNext : Flow::kFault;
}
Flow sti_op(Vcpu& v, const Insn&) {
  return finish(sti(v));
}

// --- GDTR and IDTR (aux: 1 for IDTR)
// -----------------------------------------------------------------------------

x86::DescriptorTable& table_of(Vcpu& v, const Insn& i) {
  return i.aux != 0 ? v.state.idtr : v.state.gdtr;
}

Flow load_table(Vcpu& v, const Insn& i) {
  if (!require_ring0(v)) return Flow::kFault;
  const unsigned base_bytes = i.legacy ? 4 : 8;
  u64 address, limit, base;
  if (!linear_of(v, i, 2 + base_bytes, Access::kRead, address) ||
      !v.mmu.read_as(Privilege::kCurrent, address, 2, limit, seg_of(i)) ||
      !v.mmu.read_as(Privilege::kCurrent, address + 2, base_bytes, base, seg_of(i)))
    return Flow::kFault;
  if (!i.legacy && !x86::is_canonical(base)) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  if (i.legacy && i.size == 2) base &= 0xffffff;  // a 16-bit operand size loads a 24-bit base
  table_of(v, i) = {base, static_cast<u16>(limit)};
  return Flow::kNext;
}
Flow store_table(Vcpu& v, const Insn& i) {
  if (!allow_store(v)) return Flow::kFault;
  const unsigned base_bytes = i.legacy ? 4 : 8;
  u64 address;
  u8 image[10];
  const x86::DescriptorTable& table = table_of(v, i);
  for (unsigned n = 0; n < 2; ++n) image[n] = static_cast<u8>(table.limit >> (8 * n));
  for (unsigned n = 0; n < 8; ++n) image[2 + n] = static_cast<u8>(table.base >> (8 * n));
  if (!linear_of(v, i, 2 + base_bytes, Access::kWrite, address) ||
      !v.mmu.write_bytes(address, image, 2 + base_bytes, seg_of(i)))
    return Flow::kFault;
  return after_store(v);
}

// --- LDTR, TR, machine status word (a 16-bit value; `aux`: memory operand)
// ---------------------------------------

bool read_word(Vcpu& v, const Insn& i, u16& value) {
  if (i.aux != 0) return load<u16>(v, i, value);
  value = reg<u16>(v, i.src);
  return true;
}
// To memory 16 bits, to a register the operand size.
Flow write_word(Vcpu& v, const Insn& i, u64 value) {
  if (i.aux != 0) return store<u16>(v, i, static_cast<u16>(value)) ? after_store(v) : Flow::kFault;
  for_word_size(i.size, [&](auto t) { write_reg(v, i.dst, static_cast<decltype(t)>(value)); });
  return Flow::kNext;
}
Flow lldt_op(Vcpu& v, const Insn& i) {
  u16 selector;
  return require_protected(v) && require_ring0(v) && read_word(v, i, selector) && load_ldtr(v, selector)
             ? Flow::kNext
             : Flow::kFault;
}
Flow ltr_op(Vcpu& v, const Insn& i) {
  u16 selector;
  return require_protected(v) && require_ring0(v) && read_word(v, i, selector) && load_tr(v, selector)
             ? Flow::kNext
             : Flow::kFault;
}
Flow sldt_op(Vcpu& v, const Insn& i) {
  return require_protected(v) && allow_store(v) ? write_word(v, i, v.state.ldtr.selector) : Flow::kFault;
}
Flow str_op(Vcpu& v, const Insn& i) {
  return require_protected(v) && allow_store(v) ? write_word(v, i, v.state.tr.selector) : Flow::kFault;
}
Flow smsw_op(Vcpu& v, const Insn& i) {
  // A 32-bit register gets CR0's low half, a 64-bit one all of it.
  return allow_store(v) ? write_word(v, i, v.state.cr0) : Flow::kFault;
}
Flow lmsw_op(Vcpu& v, const Insn& i) {
  u16 value;
  return finish(require_ring0(v) && read_word(v, i, value) && load_msw(v, value));
}
Flow clts_op(Vcpu& v, const Insn&) {
  return finish(clear_ts(v));
}

void bind_word(const Binding& b, Insn& out) {
  out.aux = b.is_memory(0);
  out.size = static_cast<u8>(b.is_memory(0) ? 2 : b.size(0));
  if (b.is_memory(0))
    b.memory(0, out);
  else
    out.dst = out.src = b.register_of(0);
}

template <SelectorQuery query>
Flow query_op(Vcpu& v, const Insn& i) {
  u16 selector;
  bool accessible = false;
  u32 result = 0;
  if (!require_protected(v) || !read_word(v, i, selector) ||
      !query_selector(v, query, selector, accessible, result))
    return Flow::kFault;
  constexpr bool kReturnsValue = query == SelectorQuery::kLar || query == SelectorQuery::kLsl;
  if constexpr (kReturnsValue) {
    if (accessible)
      for_word_size(i.size, [&](auto t) { write_reg(v, i.dst, static_cast<decltype(t)>(result)); });
  }
  v.state.rflags = (v.state.rflags & ~x86::rflags::kZf) | (accessible ? x86::rflags::kZf : 0);
  return Flow::kNext;
}

// --- Control and debug registers (aux: number)
// -------------------------------------------------------------------

u64 general(Vcpu& v, const Insn& i, u16 offset) {
  return i.legacy ? reg<u32>(v, offset) : reg<u64>(v, offset);
}
void set_general(Vcpu& v, const Insn& i, u64 value) {
  if (i.legacy)
    write_reg<u32>(v, i.dst, static_cast<u32>(value));
  else
    write_reg<u64>(v, i.dst, value);
}
Flow mov_to_cr(Vcpu& v, const Insn& i) {
  return finish(write_cr(v, i.aux, general(v, i, i.src)));
}
Flow mov_from_cr(Vcpu& v, const Insn& i) {
  u64 value;
  if (!read_cr(v, i.aux, value)) return Flow::kFault;
  set_general(v, i, value);
  return Flow::kNext;
}
Flow mov_to_dr(Vcpu& v, const Insn& i) {
  return finish(write_dr(v, i.aux, general(v, i, i.src)));
}
Flow mov_from_dr(Vcpu& v, const Insn& i) {
  u64 value;
  if (!read_dr(v, i.aux, value)) return Flow::kFault;
  set_general(v, i, value);
  return Flow::kNext;
}

Flow invlpg_op(Vcpu& v, const Insn& i) {
  const u64 offset = offset_of(v, i);
  // No limit check: only the address counts (SDM vol. 2, INVLPG).
  const u64 linear =
      i.legacy ? static_cast<u32>(v.state.seg[i.seg].base + offset) : offset + reg64(v, i.seg_base);
  return finish(invlpg(v, linear));
}
Flow invpcid_op(Vcpu& v, const Insn& i) {
  if (!require_ring0(v)) return Flow::kFault;
  u64 address, low, high;
  if (!linear_of(v, i, 16, Access::kRead, address) ||
      !v.mmu.read_as(Privilege::kCurrent, address, 8, low, seg_of(i)) ||
      !v.mmu.read_as(Privilege::kCurrent, address + 8, 8, high, seg_of(i)))
    return Flow::kFault;
  return finish(invpcid(v, general(v, i, i.src), low, high));
}

// Guest memory is the host's coherent memory: there is nothing to write back or drop.
Flow cache_op(Vcpu& v, const Insn&) {
  return require_ring0(v) ? Flow::kNext : Flow::kFault;
}

Flow access_flag_op(Vcpu& v, const Insn& i) {
  if (v.state.cpl != 0) {
    v.raise_ud();
    return Flow::kFault;
  }
  v.state.rflags = (v.state.rflags & ~x86::rflags::kAc) | (i.aux != 0 ? x86::rflags::kAc : 0);
  v.mmu.update_context();
  return Flow::kNext;
}

}  // namespace

Flow undefined_opcode(Vcpu& v, const Insn&) {
  v.raise_ud();
  return Flow::kFault;
}

namespace bind {

void hlt(const Binding&, Insn& out) {
  out.run = &hlt_op;
}
void interrupt_flag(const Binding& b, Insn& out) {
  out.run = b.mnemonic() == ZYDIS_MNEMONIC_CLI ? &cli_op : &sti_op;
}
void descriptor_table(const Binding& b, Insn& out) {
  b.memory(0, out);
  out.size = static_cast<u8>(b.operand_bytes());
  const auto m = b.mnemonic();
  out.aux = m == ZYDIS_MNEMONIC_LIDT || m == ZYDIS_MNEMONIC_SIDT;
  out.run = m == ZYDIS_MNEMONIC_LGDT || m == ZYDIS_MNEMONIC_LIDT ? &load_table : &store_table;
}
void system_selector(const Binding& b, Insn& out) {
  bind_word(b, out);
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_LLDT:
      out.run = &lldt_op;
      break;
    case ZYDIS_MNEMONIC_LTR:
      out.run = &ltr_op;
      break;
    case ZYDIS_MNEMONIC_SLDT:
      out.run = &sldt_op;
      break;
    default:
      out.run = &str_op;
      break;
  }
}
void machine_status(const Binding& b, Insn& out) {
  if (b.mnemonic() == ZYDIS_MNEMONIC_CLTS) {
    out.run = &clts_op;
    return;
  }
  bind_word(b, out);
  out.run = b.mnemonic() == ZYDIS_MNEMONIC_SMSW ? &smsw_op : &lmsw_op;
}
void selector_query(const Binding& b, Insn& out) {
  const auto m = b.mnemonic();
  const unsigned n = m == ZYDIS_MNEMONIC_LAR || m == ZYDIS_MNEMONIC_LSL ? 1 : 0;
  out.aux = b.is_memory(n);
  if (b.is_memory(n))
    b.memory(n, out);
  else
    out.src = b.register_of(n);
  if (n == 1) {
    out.dst = b.register_of(0);
    out.size = static_cast<u8>(b.size(0));
  }
  switch (m) {
    case ZYDIS_MNEMONIC_LAR:
      out.run = &query_op<SelectorQuery::kLar>;
      break;
    case ZYDIS_MNEMONIC_LSL:
      out.run = &query_op<SelectorQuery::kLsl>;
      break;
    case ZYDIS_MNEMONIC_VERR:
      out.run = &query_op<SelectorQuery::kVerr>;
      break;
    default:
      out.run = &query_op<SelectorQuery::kVerw>;
      break;
  }
}
void control_register(const Binding& b, Insn& out) {
  const auto general_class = [&](unsigned n) {
    const auto kind = ZydisRegisterGetClass(b.operand(n).reg.value);
    return kind == ZYDIS_REGCLASS_GPR64 || kind == ZYDIS_REGCLASS_GPR32;
  };
  const bool to = general_class(1);
  const ZydisRegister special = b.operand(to ? 0 : 1).reg.value;
  const auto kind = ZydisRegisterGetClass(special);
  if (kind == ZYDIS_REGCLASS_TEST) return undefined(b, out);
  out.aux = static_cast<u8>(ZydisRegisterGetId(special));
  out.legacy = !b.mode_64();
  if (to)
    out.src = b.register_of(1);
  else
    out.dst = b.register_of(0);
  if (kind == ZYDIS_REGCLASS_CONTROL)
    out.run = to ? &mov_to_cr : &mov_from_cr;
  else
    out.run = to ? &mov_to_dr : &mov_from_dr;
}
void tlb(const Binding& b, Insn& out) {
  if (b.mnemonic() == ZYDIS_MNEMONIC_INVLPG) {
    b.memory(0, out);
    out.run = &invlpg_op;
    return;
  }
  if (!b.v.model.has(x86::Feature::kInvpcid)) return undefined(b, out);
  out.src = b.register_of(0);
  b.memory(1, out);
  out.run = &invpcid_op;
}
void cache(const Binding&, Insn& out) {
  out.run = &cache_op;
}
void access_flag(const Binding& b, Insn& out) {
  if (!b.v.model.has(x86::Feature::kSmap)) return undefined(b, out);
  out.aux = b.mnemonic() == ZYDIS_MNEMONIC_STAC;
  out.run = &access_flag_op;
}
void undefined(const Binding&, Insn& out) {
  out.run = &undefined_opcode;
}

}  // namespace bind

}  // namespace vellum::interp
