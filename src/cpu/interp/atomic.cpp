// CMPXCHG, CMPXCHG8B, CMPXCHG16B, XADD. Without LOCK too they are done atomically: that is one of the orders
// that hardware could have chosen.
#include "cpu/interp/alu.hpp"
#include "cpu/interp/binding.hpp"

namespace vellum::interp {
namespace {

constexpr u16 kRax = gpr_offset(x86::kRax);

template <class T>
struct Cmpxchg {
  static Flow on_reg(Vcpu& v, const Insn& i) {
    const T old = reg<T>(v, i.dst);
    Cmp::apply<T>(reg<T>(v, kRax), old, v.state.rflags);
    if ((v.state.rflags & x86::rflags::kZf) != 0) {
      write_reg<T>(v, i.dst, reg<T>(v, i.src));
    } else {
      write_reg<T>(v, kRax, old);
    }
    return Flow::kNext;
  }
  static Flow on_mem(Vcpu& v, const Insn& i) {
    const T expected = reg<T>(v, kRax);
    const T fresh = reg<T>(v, i.src);
    T old{};
    // The processor writes in either case (the old value back if unequal), so a fault is that of a write.
    const Flow flow = modify_locked<T>(v, i, [&](T a) {
      old = a;
      return a == expected ? fresh : a;
    });
    if (flow == Flow::kFault) return flow;
    Cmp::apply<T>(expected, old, v.state.rflags);
    if (old != expected) write_reg<T>(v, kRax, old);
    return flow;
  }
};

void set_zf(Vcpu& v, bool set) {
  v.state.rflags = (v.state.rflags & ~x86::rflags::kZf) | (set ? x86::rflags::kZf : 0);
}

Flow cmpxchg8b_op(Vcpu& v, const Insn& i) {
  auto& g = v.state.gpr;
  const u64 expected = (g[x86::kRdx] << 32) | static_cast<u32>(g[x86::kRax]);
  const u64 fresh = (g[x86::kRcx] << 32) | static_cast<u32>(g[x86::kRbx]);
  u64 old = 0;
  const Flow flow = modify_locked<u64>(v, i, [&](u64 a) {
    old = a;
    return a == expected ? fresh : a;
  });
  if (flow == Flow::kFault) return flow;
  set_zf(v, old == expected);
  if (old != expected) {
    g[x86::kRax] = static_cast<u32>(old);
    g[x86::kRdx] = old >> 32;
  }
  return flow;
}

Flow cmpxchg16b_op(Vcpu& v, const Insn& i) {
  u64 address;
  if (!linear_of(v, i, 16, Access::kWrite, address)) return Flow::kFault;
  if (address % 16 != 0) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  bool faulted;
  u8* p = v.mmu.pointer_for_write(address, 16, seg_of(i), faulted);
  if (faulted) return Flow::kFault;
  auto& g = v.state.gpr;
  bool equal = false;
  if (p != nullptr) {
    // SAFETY: p has 16 bytes of guest RAM behind it, aligned as the guest's address is.
    asm volatile("lock cmpxchg16b (%[p])"
                 : "=@ccz"(equal), "+a"(g[x86::kRax]), "+d"(g[x86::kRdx])
                 : [p] "r"(p), "b"(g[x86::kRbx]), "c"(g[x86::kRcx])
                 : "memory");
    v.mmu.wrote(address, 16);
  } else {  // memory-mapped I/O: two accesses, excluding others of this VM
    const std::scoped_lock guard(v.space.ram.split_lock());
    u64 low, high;
    if (!v.mmu.read<u64>(address, low, seg_of(i)) || !v.mmu.read<u64>(address + 8, high, seg_of(i)))
      return Flow::kFault;
    equal = low == g[x86::kRax] && high == g[x86::kRdx];
    if (!v.mmu.write<u64>(address, equal ? g[x86::kRbx] : low, seg_of(i)) ||
        !v.mmu.write<u64>(address + 8, equal ? g[x86::kRcx] : high, seg_of(i)))
      return Flow::kFault;
    g[x86::kRax] = low;
    g[x86::kRdx] = high;
  }
  set_zf(v, equal);
  return after_store(v);
}

template <class T>
struct Xadd {
  static Flow on_reg(Vcpu& v, const Insn& i) {
    const T old = reg<T>(v, i.dst);
    const T sum = Add::apply<T>(old, reg<T>(v, i.src), v.state.rflags);
    write_reg<T>(v, i.src, old);
    write_reg<T>(v, i.dst, sum);  // last: with equal registers the sum stays
    return Flow::kNext;
  }
  static Flow on_mem(Vcpu& v, const Insn& i) {
    const T b = reg<T>(v, i.src);
    T old{};
    const Flow flow = modify_locked<T>(v, i, [&](T a) {
      old = a;
      return static_cast<T>(a + b);
    });
    if (flow == Flow::kFault) return flow;
    Add::apply<T>(old, b, v.state.rflags);
    write_reg<T>(v, i.src, old);
    return flow;
  }
};

template <template <class> class Op>
void bind_exchange(const Binding& b, Insn& out) {
  out.src = b.register_of(1);
  for_size(b.size(0), [&](auto t) {
    using Form = Op<decltype(t)>;
    if (b.is_memory(0)) {
      b.memory(0, out);
      out.run = &Form::on_mem;
    } else {
      out.dst = b.register_of(0);
      out.run = &Form::on_reg;
    }
  });
}

}  // namespace

namespace bind {
void cmpxchg(const Binding& b, Insn& out) {
  bind_exchange<Cmpxchg>(b, out);
}
void xadd(const Binding& b, Insn& out) {
  bind_exchange<Xadd>(b, out);
}
void cmpxchg8b(const Binding& b, Insn& out) {
  b.memory(0, out);
  out.run = &cmpxchg8b_op;
}
void cmpxchg16b(const Binding& b, Insn& out) {
  if (!b.v.model.has(x86::Feature::kCx16)) return undefined(b, out);
  b.memory(0, out);
  out.run = &cmpxchg16b_op;
}
}  // namespace bind

}  // namespace vellum::interp
