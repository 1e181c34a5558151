// String instructions: MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS with and without REP.
//
// An iteration is the unit of architecture: registers are updated after each, a fault in the middle leaves
// them at the iteration that faulted, and pending interrupts are taken between iterations (SDM vol. 2, REP).
// MOVS and STOS that run upwards in 64-bit mode go a page at a time through host pointers, with the host's
// own string instruction of the same width, so that overlapping ranges come out as on hardware.
#include <algorithm>

#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"
#include "cpu/system/control.hpp"

namespace vellum::interp {
namespace {

enum : u8 { kNoRep, kRep, kRepNotEqual };

constexpr u16 kRax = gpr_offset(x86::kRax);

// The most iterations between two looks at the hazards.
constexpr u64 kBatch = 4096;

u64 masked(const Insn& i, u64 value) {
  return value << i.address_shift >> i.address_shift;
}

// Updates rSI, rDI or rCX in the address size.
void write_index(Vcpu& v, const Insn& i, x86::Gpr r, u64 value) {
  if (i.address_shift == 0)
    v.state.gpr[r] = value;
  else if (i.address_shift == 32)
    v.state.gpr[r] = static_cast<u32>(value);
  else
    reg<u16>(v, gpr_offset(r)) = static_cast<u16>(value);
}
void advance(Vcpu& v, const Insn& i, x86::Gpr r, i64 step) {
  write_index(v, i, r, v.state.gpr[r] + static_cast<u64>(step));
}

bool source_address(Vcpu& v, const Insn& i, unsigned size, u64& linear) {
  const u64 offset = masked(i, v.state.gpr[x86::kRsi]);
  if (i.legacy) return legacy_address(v, seg_of(i), offset, size, Access::kRead, linear);
  linear = offset + reg64(v, i.seg_base);
  return true;
}
// Always ES.
bool target_address(Vcpu& v, const Insn& i, unsigned size, Access access, u64& linear) {
  const u64 offset = masked(i, v.state.gpr[x86::kRdi]);
  if (i.legacy) return legacy_address(v, x86::Seg::kEs, offset, size, access, linear);
  linear = offset;
  return true;
}

i64 step_of(const Vcpu& v, unsigned size) {
  return (v.state.rflags & x86::rflags::kDf) != 0 ? -static_cast<i64>(size) : static_cast<i64>(size);
}

// Whether to look around before the next iteration: something pends, or each iteration is to trap.
bool interrupted(const Vcpu& v) {
  return v.hazards.load() != 0 || (v.state.rflags & x86::rflags::kTf) != 0;
}

template <class T>
void host_movs(u8* to, const u8* from, u64 count) {
  if constexpr (sizeof(T) == 1)
    asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  else if constexpr (sizeof(T) == 2)
    asm volatile("rep movsw" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  else if constexpr (sizeof(T) == 4)
    asm volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  else
    asm volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
}
template <class T>
void host_stos(u8* to, T value, u64 count) {
  if constexpr (sizeof(T) == 1)
    asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  else if constexpr (sizeof(T) == 2)
    asm volatile("rep stosw" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  else if constexpr (sizeof(T) == 4)
    asm volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(value) : "memory");
  else
    asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(value) : "memory");
}

// Each operation: one(): one iteration, false on a fault. bulk(): runs as many of `count` iterations as go at
// once and says how many, 0 if none do. kCompares: whether REPE and REPNE look at ZF. kPort: the width of its
// port accesses, 0 if it has none.
template <class T>
struct Movs {
  static constexpr bool kCompares = false;
  static constexpr unsigned kPort = 0;
  static bool one(Vcpu& v, const Insn& i) {
    u64 from, to;
    T value;
    if (!source_address(v, i, sizeof(T), from) || !v.mmu.read<T>(from, value, seg_of(i)) ||
        !target_address(v, i, sizeof(T), Access::kWrite, to) || !v.mmu.write<T>(to, value, x86::Seg::kEs))
      return false;
    const i64 step = step_of(v, sizeof(T));
    advance(v, i, x86::kRsi, step);
    advance(v, i, x86::kRdi, step);
    return true;
  }
  static u64 bulk(Vcpu& v, const Insn& i, u64 count) {
    const u64 from = v.state.gpr[x86::kRsi] + reg64(v, i.seg_base);
    const u64 to = v.state.gpr[x86::kRdi];
    const u64 room = std::min(kPageSize - (from & kPageMask), kPageSize - (to & kPageMask));
    count = std::min(count, room / sizeof(T));
    if (count == 0) return 0;
    const auto size = static_cast<unsigned>(count * sizeof(T));
    bool faulted;
    const u8* source = v.mmu.pointer_for_read(from, size, seg_of(i), faulted);
    if (source == nullptr) return 0;
    u8* target = v.mmu.pointer_for_write(to, size, x86::Seg::kEs, faulted);
    if (target == nullptr) return 0;
    host_movs<T>(target, source, count);
    v.mmu.wrote(to, size);
    v.state.gpr[x86::kRsi] += size;
    v.state.gpr[x86::kRdi] += size;
    return count;
  }
};

template <class T>
struct Stos {
  static constexpr bool kCompares = false;
  static constexpr unsigned kPort = 0;
  static bool one(Vcpu& v, const Insn& i) {
    u64 to;
    if (!target_address(v, i, sizeof(T), Access::kWrite, to) ||
        !v.mmu.write<T>(to, reg<T>(v, kRax), x86::Seg::kEs))
      return false;
    advance(v, i, x86::kRdi, step_of(v, sizeof(T)));
    return true;
  }
  static u64 bulk(Vcpu& v, const Insn&, u64 count) {
    const u64 to = v.state.gpr[x86::kRdi];
    count = std::min(count, (kPageSize - (to & kPageMask)) / sizeof(T));
    if (count == 0) return 0;
    const auto size = static_cast<unsigned>(count * sizeof(T));
    bool faulted;
    u8* target = v.mmu.pointer_for_write(to, size, x86::Seg::kEs, faulted);
    if (target == nullptr) return 0;
    host_stos<T>(target, reg<T>(v, kRax), count);
    v.mmu.wrote(to, size);
    v.state.gpr[x86::kRdi] += size;
    return count;
  }
};

template <class T>
struct Lods {
  static constexpr bool kCompares = false;
  static constexpr unsigned kPort = 0;
  static bool one(Vcpu& v, const Insn& i) {
    u64 from;
    T value;
    if (!source_address(v, i, sizeof(T), from) || !v.mmu.read<T>(from, value, seg_of(i))) return false;
    write_reg<T>(v, kRax, value);
    advance(v, i, x86::kRsi, step_of(v, sizeof(T)));
    return true;
  }
  static u64 bulk(Vcpu&, const Insn&, u64) { return 0; }
};

template <class T>
struct Scas {
  static constexpr bool kCompares = true;
  static constexpr unsigned kPort = 0;
  static bool one(Vcpu& v, const Insn& i) {
    u64 to;
    T value;
    if (!target_address(v, i, sizeof(T), Access::kRead, to) || !v.mmu.read<T>(to, value, x86::Seg::kEs))
      return false;
    Cmp::apply<T>(reg<T>(v, kRax), value, v.state.rflags);
    advance(v, i, x86::kRdi, step_of(v, sizeof(T)));
    return true;
  }
  static u64 bulk(Vcpu&, const Insn&, u64) { return 0; }
};

template <class T>
struct Cmps {
  static constexpr bool kCompares = true;
  static constexpr unsigned kPort = 0;
  static bool one(Vcpu& v, const Insn& i) {
    u64 from, to;
    T a, b;
    if (!source_address(v, i, sizeof(T), from) || !v.mmu.read<T>(from, a, seg_of(i)) ||
        !target_address(v, i, sizeof(T), Access::kRead, to) || !v.mmu.read<T>(to, b, x86::Seg::kEs))
      return false;
    Cmp::apply<T>(a, b, v.state.rflags);
    const i64 step = step_of(v, sizeof(T));
    advance(v, i, x86::kRsi, step);
    advance(v, i, x86::kRdi, step);
    return true;
  }
  static u64 bulk(Vcpu&, const Insn&, u64) { return 0; }
};

template <class T>
struct Ins {
  static constexpr bool kCompares = false;
  static constexpr unsigned kPort = sizeof(T);
  static bool one(Vcpu& v, const Insn& i) {
    const auto port = static_cast<u16>(v.state.gpr[x86::kRdx]);
    u64 to;
    // The target is checked before the port is read, so that a fault loses no input.
    if (!check_io_permission(v, port, sizeof(T)) || !target_address(v, i, sizeof(T), Access::kWrite, to) ||
        !v.mmu.probe(to, sizeof(T), Access::kWrite, x86::Seg::kEs))
      return false;
    if (!v.mmu.write<T>(to, static_cast<T>(port_read(v, port, sizeof(T))), x86::Seg::kEs)) return false;
    advance(v, i, x86::kRdi, step_of(v, sizeof(T)));
    return true;
  }
  static u64 bulk(Vcpu&, const Insn&, u64) { return 0; }
};

template <class T>
struct Outs {
  static constexpr bool kCompares = false;
  static constexpr unsigned kPort = sizeof(T);
  static bool one(Vcpu& v, const Insn& i) {
    const auto port = static_cast<u16>(v.state.gpr[x86::kRdx]);
    u64 from;
    T value;
    if (!check_io_permission(v, port, sizeof(T)) || !source_address(v, i, sizeof(T), from) ||
        !v.mmu.read<T>(from, value, seg_of(i)))
      return false;
    port_write(v, port, sizeof(T), value);
    advance(v, i, x86::kRsi, step_of(v, sizeof(T)));
    return true;
  }
  static u64 bulk(Vcpu&, const Insn&, u64) { return 0; }
};

template <class Op>
Flow once(Vcpu& v, const Insn& i) {
  return Op::one(v, i) ? after_store(v) : Flow::kFault;
}

template <class Op>
Flow repeated(Vcpu& v, const Insn& i) {
  // Processors check the port even when the count is 0.
  if constexpr (Op::kPort != 0) {
    if (!check_io_permission(v, static_cast<u16>(v.state.gpr[x86::kRdx]), Op::kPort)) return Flow::kFault;
  }
  u64 count = masked(i, v.state.gpr[x86::kRcx]);
  const bool bulk_allowed = !i.legacy && i.address_shift == 0 && (v.state.rflags & x86::rflags::kDf) == 0 &&
                            !v.mmu.accesses_are_watched() && (v.state.rflags & x86::rflags::kTf) == 0;
  u64 batch = kBatch;
  while (count != 0) {
    u64 done = bulk_allowed ? Op::bulk(v, i, count) : 0;
    if (done == 0) {
      if (!Op::one(v, i)) return Flow::kFault;
      done = 1;
    }
    count -= done;
    write_index(v, i, x86::kRcx, count);
    if constexpr (Op::kCompares) {
      const bool equal = (v.state.rflags & x86::rflags::kZf) != 0;
      if (equal != (i.aux == kRep)) break;
    }
    if (count == 0) break;
    // A store that hit this unit's own code ends it; the iterations left are run by what is there then.
    if (v.mmu.code_was_written || v.mmu.breakpoint_hits != 0 || interrupted(v)) return Flow::kRepeat;
    if (--batch == 0) return Flow::kRepeat;
  }
  return after_store(v);
}

template <template <class> class Op>
void bind_string(const Binding& b, Insn& out, unsigned bytes) {
  out.address_shift = static_cast<u8>(64 - b.decoded.info.address_width);
  out.aux = b.has(ZYDIS_ATTRIB_HAS_REPNE)                                 ? kRepNotEqual
            : b.has(ZYDIS_ATTRIB_HAS_REP) || b.has(ZYDIS_ATTRIB_HAS_REPE) ? kRep
                                                                          : kNoRep;
  for_size(bytes, [&](auto t) {
    using Form = Op<decltype(t)>;
    out.run = out.aux == kNoRep ? &once<Form> : &repeated<Form>;
  });
}

// The segment of rSI's operand, which a prefix may override; rDI's is ES always.
void bind_source_segment(const Binding& b, Insn& out) {
  out.legacy = !b.mode_64();
  out.seg_base = zero_offset();
  for (unsigned n = 0; n < b.decoded.info.operand_count; ++n) {
    if (!b.is_memory(n)) continue;
    const auto whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, b.operand(n).mem.base);
    if (whole == ZYDIS_REGISTER_RSI) b.memory(n, out);
  }
}

}  // namespace

namespace bind {

void string(const Binding& b, Insn& out) {
  bind_source_segment(b, out);
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_MOVSB:
      return bind_string<Movs>(b, out, 1);
    case ZYDIS_MNEMONIC_MOVSW:
      return bind_string<Movs>(b, out, 2);
    case ZYDIS_MNEMONIC_MOVSD:
      return bind_string<Movs>(b, out, 4);
    case ZYDIS_MNEMONIC_MOVSQ:
      return bind_string<Movs>(b, out, 8);
    case ZYDIS_MNEMONIC_STOSB:
      return bind_string<Stos>(b, out, 1);
    case ZYDIS_MNEMONIC_STOSW:
      return bind_string<Stos>(b, out, 2);
    case ZYDIS_MNEMONIC_STOSD:
      return bind_string<Stos>(b, out, 4);
    case ZYDIS_MNEMONIC_STOSQ:
      return bind_string<Stos>(b, out, 8);
    case ZYDIS_MNEMONIC_LODSB:
      return bind_string<Lods>(b, out, 1);
    case ZYDIS_MNEMONIC_LODSW:
      return bind_string<Lods>(b, out, 2);
    case ZYDIS_MNEMONIC_LODSD:
      return bind_string<Lods>(b, out, 4);
    case ZYDIS_MNEMONIC_LODSQ:
      return bind_string<Lods>(b, out, 8);
    case ZYDIS_MNEMONIC_SCASB:
      return bind_string<Scas>(b, out, 1);
    case ZYDIS_MNEMONIC_SCASW:
      return bind_string<Scas>(b, out, 2);
    case ZYDIS_MNEMONIC_SCASD:
      return bind_string<Scas>(b, out, 4);
    case ZYDIS_MNEMONIC_SCASQ:
      return bind_string<Scas>(b, out, 8);
    case ZYDIS_MNEMONIC_CMPSB:
      return bind_string<Cmps>(b, out, 1);
    case ZYDIS_MNEMONIC_CMPSW:
      return bind_string<Cmps>(b, out, 2);
    case ZYDIS_MNEMONIC_CMPSD:
      return bind_string<Cmps>(b, out, 4);
    default:
      return bind_string<Cmps>(b, out, 8);
  }
}

void port_string(const Binding& b, Insn& out) {
  bind_source_segment(b, out);
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_INSB:
      return bind_string<Ins>(b, out, 1);
    case ZYDIS_MNEMONIC_INSW:
      return bind_string<Ins>(b, out, 2);
    case ZYDIS_MNEMONIC_INSD:
      return bind_string<Ins>(b, out, 4);
    case ZYDIS_MNEMONIC_OUTSB:
      return bind_string<Outs>(b, out, 1);
    case ZYDIS_MNEMONIC_OUTSW:
      return bind_string<Outs>(b, out, 2);
    default:
      return bind_string<Outs>(b, out, 4);
  }
}

}  // namespace bind

}  // namespace vellum::interp
