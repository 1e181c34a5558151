// Instructions that reach beyond the processor's core: MSRs, TSC, CPUID, XCR0, segment bases, ports, PAUSE.
#include <sched.h>

#include "cpu/interp/binding.hpp"
#include "cpu/system/control.hpp"

namespace vellum::interp {
namespace {

Flow finish(bool done) {
  return done ? Flow::kEndUnit : Flow::kFault;
}

void write_edx_eax(Vcpu& v, u64 value) {
  v.state.gpr[x86::kRax] = static_cast<u32>(value);
  v.state.gpr[x86::kRdx] = value >> 32;
}
u64 edx_eax(const Vcpu& v) {
  return (v.state.gpr[x86::kRdx] << 32) | static_cast<u32>(v.state.gpr[x86::kRax]);
}
u32 ecx(const Vcpu& v) {
  return static_cast<u32>(v.state.gpr[x86::kRcx]);
}

// RDMSR and WRMSR check CPL here: read_msr() and write_msr() serve the monitor too.
Flow rdmsr_op(Vcpu& v, const Insn&) {
  u64 value;
  if ((v.state.cpl != 0 && !v.raise_gp(0)) || !read_msr(v, ecx(v), value)) return Flow::kFault;
  write_edx_eax(v, value);
  return Flow::kNext;
}
Flow wrmsr_op(Vcpu& v, const Insn&) {
  if (v.state.cpl != 0 && !v.raise_gp(0)) return Flow::kFault;
  return finish(write_msr(v, ecx(v), edx_eax(v)));
}

// There are no performance counters, so that no index is valid: #GP(0) at any privilege (SDM vol. 2, RDPMC).
Flow rdpmc_op(Vcpu& v, const Insn&) {
  v.raise_gp(0);
  return Flow::kFault;
}

bool allow_tsc(Vcpu& v) {
  return v.state.cpl == 0 || (v.state.cr4 & x86::cr4::kTsd) == 0 || v.state.real_mode() || v.raise_gp(0);
}
Flow rdtsc_op(Vcpu& v, const Insn&) {
  if (!allow_tsc(v)) return Flow::kFault;
  write_edx_eax(v, read_tsc(v));
  return Flow::kNext;
}
// RDTSCP waits until all earlier instructions have executed and all earlier loads are visible (SDM vol. 2):
// the host must not read its counter ahead of the guest's loads either.
Flow rdtscp_op(Vcpu& v, const Insn&) {
  if (!allow_tsc(v)) return Flow::kFault;
  asm volatile("lfence" : : : "memory");
  write_edx_eax(v, read_tsc(v));
  v.state.gpr[x86::kRcx] = static_cast<u32>(v.state.msr.tsc_aux);
  return Flow::kNext;
}
Flow rdpid_op(Vcpu& v, const Insn& i) {
  write_reg<u64>(v, i.dst, static_cast<u32>(v.state.msr.tsc_aux));
  return Flow::kNext;
}

// Serializing (SDM vol. 3A §9.3): for the guest's own memory accesses the host's fences are enough.
Flow cpuid_op(Vcpu& v, const Insn&) {
  asm volatile("mfence\n\tlfence" : : : "memory");
  auto& g = v.state.gpr;
  const auto result = vellum::cpuid(v, static_cast<u32>(g[x86::kRax]), static_cast<u32>(g[x86::kRcx]));
  g[x86::kRax] = result.eax;
  g[x86::kRbx] = result.ebx;
  g[x86::kRcx] = result.ecx;
  g[x86::kRdx] = result.edx;
  return Flow::kEndUnit;  // serialising
}

Flow xgetbv_op(Vcpu& v, const Insn&) {
  u64 value;
  if (!get_xcr(v, ecx(v), value)) return Flow::kFault;
  write_edx_eax(v, value);
  return Flow::kNext;
}
Flow xsetbv_op(Vcpu& v, const Insn&) {
  return finish(set_xcr(v, ecx(v), edx_eax(v)));
}

// Only in 64-bit mode; the decoder has seen to that.
Flow swapgs_op(Vcpu& v, const Insn&) {
  if (v.state.cpl != 0) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  std::swap(v.state.segment(x86::Seg::kGs).base, v.state.msr.kernel_gs_base);
  return Flow::kNext;
}
bool allow_base(Vcpu& v) {
  return (v.state.cr4 & x86::cr4::kFsgsbase) != 0 || v.raise_ud();
}
template <class T, x86::Seg seg>
Flow read_base(Vcpu& v, const Insn& i) {
  if (!allow_base(v)) return Flow::kFault;
  write_reg<T>(v, i.dst, static_cast<T>(v.state.segment(seg).base));
  return Flow::kNext;
}
template <class T, x86::Seg seg>
Flow write_base(Vcpu& v, const Insn& i) {
  if (!allow_base(v)) return Flow::kFault;
  const u64 value = reg<T>(v, i.src);
  if (!x86::is_canonical(value)) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  v.state.segment(seg).base = value;
  return Flow::kNext;
}

// `aux`: the port is in DX, else in imm.
u16 port_of(const Vcpu& v, const Insn& i) {
  return i.aux != 0 ? static_cast<u16>(v.state.gpr[x86::kRdx]) : static_cast<u16>(i.imm);
}
template <class T>
Flow in_op(Vcpu& v, const Insn& i) {
  const u16 port = port_of(v, i);
  if (!check_io_permission(v, port, sizeof(T))) return Flow::kFault;
  write_reg<T>(v, gpr_offset(x86::kRax), static_cast<T>(port_read(v, port, sizeof(T))));
  return Flow::kEndUnit;
}
template <class T>
Flow out_op(Vcpu& v, const Insn& i) {
  const u16 port = port_of(v, i);
  if (!check_io_permission(v, port, sizeof(T))) return Flow::kFault;
  port_write(v, port, sizeof(T), reg<T>(v, gpr_offset(x86::kRax)));
  return Flow::kEndUnit;
}

template <class T>
Flow exchange_registers(Vcpu& v, const Insn& i) {
  const T a = reg<T>(v, i.dst);
  write_reg<T>(v, i.dst, reg<T>(v, i.src));
  write_reg<T>(v, i.src, a);
  return Flow::kNext;
}

// A guest that spins waits for another vCPU, whose thread may be waiting for this host CPU.
Flow pause_op(Vcpu& v, const Insn&) {
  if (!v.clock.is_virtual() && (++v.pauses & 31) == 0) ::sched_yield();
  return Flow::kNext;
}

}  // namespace

namespace bind {

void msr(const Binding& b, Insn& out) {
  out.run = b.mnemonic() == ZYDIS_MNEMONIC_RDMSR ? &rdmsr_op : &wrmsr_op;
}

void tsc(const Binding& b, Insn& out) {
  const auto& model = b.v.model;
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_RDTSC:
      out.run = &rdtsc_op;
      break;
    case ZYDIS_MNEMONIC_RDTSCP:
      out.run = model.has(x86::Feature::kRdtscp) ? &rdtscp_op : &undefined_opcode;
      break;
    default:
      out.dst = b.register_of(0);
      out.run = model.has(x86::Feature::kRdpid) ? &rdpid_op : &undefined_opcode;
      break;
  }
}

void performance_counter(const Binding&, Insn& out) {
  out.run = &rdpmc_op;
}

void cpuid(const Binding&, Insn& out) {
  out.run = &cpuid_op;
}

void xcr(const Binding& b, Insn& out) {
  out.run = b.mnemonic() == ZYDIS_MNEMONIC_XGETBV ? &xgetbv_op : &xsetbv_op;
}

void base_register(const Binding& b, Insn& out) {
  using x86::Seg;
  if (b.mnemonic() == ZYDIS_MNEMONIC_SWAPGS) {
    out.run = &swapgs_op;
    return;
  }
  if (!b.v.model.has(x86::Feature::kFsgsbase)) return undefined(b, out);
  out.dst = out.src = b.register_of(0);
  const bool wide = b.size(0) == 8;
  switch (b.mnemonic()) {
    case ZYDIS_MNEMONIC_RDFSBASE:
      out.run = wide ? &read_base<u64, Seg::kFs> : &read_base<u32, Seg::kFs>;
      break;
    case ZYDIS_MNEMONIC_RDGSBASE:
      out.run = wide ? &read_base<u64, Seg::kGs> : &read_base<u32, Seg::kGs>;
      break;
    case ZYDIS_MNEMONIC_WRFSBASE:
      out.run = wide ? &write_base<u64, Seg::kFs> : &write_base<u32, Seg::kFs>;
      break;
    default:
      out.run = wide ? &write_base<u64, Seg::kGs> : &write_base<u32, Seg::kGs>;
      break;
  }
}

void port(const Binding& b, Insn& out) {
  const bool in = b.mnemonic() == ZYDIS_MNEMONIC_IN;
  const unsigned port_operand = in ? 1 : 0;
  out.aux = b.is_register(port_operand);
  if (b.is_immediate(port_operand)) out.imm = static_cast<u8>(b.immediate(port_operand));
  const unsigned bytes = b.size(1 - port_operand);
  out.run = bytes == 1   ? (in ? &in_op<u8> : &out_op<u8>)
            : bytes == 2 ? (in ? &in_op<u16> : &out_op<u16>)
                         : (in ? &in_op<u32> : &out_op<u32>);
}

void pause(const Binding& b, Insn& out) {
  // F3 REX.B 90 is XCHG r8, rAX as 90 is without F3: the decoder calls it PAUSE, processors do not.
  if (b.decoded.info.raw.rex.B != 0) {
    out.dst = gpr_offset(x86::kRax);
    out.src = gpr_offset(x86::kR8);
    for_word_size(b.operand_bytes(), [&](auto t) { out.run = &exchange_registers<decltype(t)>; });
    return;
  }
  out.run = &pause_op;
}

}  // namespace bind

}  // namespace vellum::interp
