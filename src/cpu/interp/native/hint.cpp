// Prefetches, fences and cache line operations. Guest memory is the host's own coherent memory, so a fence is
// the host's fence, and flushing a line has no effect that a guest can see beyond the access check that it
// makes.
#include "cpu/interp/native/families.hpp"
#include "cpu/interp/native/memory.hpp"

namespace vellum::interp::native {
namespace {

Flow nothing(Vcpu&, const Insn&) {
  return Flow::kNext;
}

Flow load_fence(Vcpu&, const Insn&) {
  asm volatile("lfence" : : : "memory");
  return Flow::kNext;
}
Flow store_fence(Vcpu&, const Insn&) {
  asm volatile("sfence" : : : "memory");
  return Flow::kNext;
}
Flow full_fence(Vcpu&, const Insn&) {
  asm volatile("mfence" : : : "memory");
  return Flow::kNext;
}

// CLFLUSH, CLFLUSHOPT, CLWB: checked as a load of one byte (SDM vol. 2A, CLFLUSH).
Flow flush_line(Vcpu& v, const Insn& i) {
  u64 linear;
  if (!linear_of(v, i, 1, Access::kRead, linear)) return Flow::kFault;
  return v.mmu.probe(linear, 1, Access::kRead, seg_of(i)) ? Flow::kNext : Flow::kFault;
}

// CLZERO (AMD64 vol. 3): clears the 64-byte line that rAX points into.
Flow clear_line(Vcpu& v, const Insn& i) {
  static constexpr u8 kZeros[64] = {};
  u64 linear;
  if (!linear_of(v, i, 1, Access::kWrite, linear)) return Flow::kFault;
  return v.mmu.write_bytes(align_down(linear, 64), kZeros, 64, seg_of(i)) ? after_store(v) : Flow::kFault;
}

}  // namespace

bool bind_hint(const Request& r, Insn& out) {
  switch (r.mnemonic()) {
    case ZYDIS_MNEMONIC_LFENCE:
      out.run = load_fence;
      return true;
    case ZYDIS_MNEMONIC_SFENCE:
      out.run = store_fence;
      return true;
    case ZYDIS_MNEMONIC_MFENCE:
      out.run = full_fence;
      return true;
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
      out.run = nothing;
      return true;
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB:
      r.memory(0, out);
      out.run = flush_line;
      return true;
    case ZYDIS_MNEMONIC_CLZERO:
      // Its operand is rAX itself, at the address size in force.
      out.legacy = !r.mode_64;
      out.base = register_offset(ZYDIS_REGISTER_RAX);
      out.index = register_offset(ZYDIS_REGISTER_NONE);
      out.seg_base = register_offset(ZYDIS_REGISTER_NONE);
      out.seg = static_cast<u8>(x86::Seg::kDs);
      out.address_shift = static_cast<u8>(64 - r.decoded.info.address_width);
      out.run = clear_line;
      return true;
    default:
      return false;
  }
}

}  // namespace vellum::interp::native
