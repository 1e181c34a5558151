// MMX, SSE and AVX data instructions by thunk.
#include "cpu/interp/native/families.hpp"
#include "cpu/interp/native/memory.hpp"
#include "cpu/interp/native/mxcsr.hpp"

namespace vellum::interp::native {
namespace {

enum class Memory : u8 { kNone, kRead, kWrite };

Thunk thunk_of(const Insn& i) {
  return reinterpret_cast<Thunk>(const_cast<void*>(i.extra));
}

template <bool kFloat>
[[gnu::always_inline]] inline bool call(Vcpu& v, const Insn& i, void* memory) {
  if constexpr (kFloat) return run_float(v, thunk_of(i), memory);
  thunk_of(i)(&v.state, memory);
  return true;
}

template <Gate kGate, Memory kMemory, bool kFloat>
Flow run_vector(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  const auto run = [&](void* memory) { return call<kFloat>(v, i, memory); };
  if constexpr (kMemory == Memory::kRead) {
    return with_source(v, i, i.size, run);
  } else if constexpr (kMemory == Memory::kWrite) {
    return with_target(v, i, i.size, run);
  } else {
    return run(nullptr) ? Flow::kNext : Flow::kFault;
  }
}

// MMX: the thunk takes the whole x87 image, MXCSR included, and the FXSAVE in it loses the x87 pointers,
// which no MMX instruction changes (SDM vol. 3A table 12-2).
template <Gate kGate, Memory kMemory>
Flow run_mmx(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) [[unlikely]]
    return gate_fault(v, kGate);
  const auto run = [&](void* memory) {
    XsaveArea& x = v.state.xsave;
    const u64 fip = x.fip(), fdp = x.fdp();
    const u16 fop = x.fop();
    const bool done = run_float_slow(v, thunk_of(i), memory);
    x.fip() = fip, x.fdp() = fdp, x.fop() = fop;
    return done;
  };
  if constexpr (kMemory == Memory::kRead) {
    return with_source(v, i, i.size, run);
  } else if constexpr (kMemory == Memory::kWrite) {
    return with_target(v, i, i.size, run);
  } else {
    return run(nullptr) ? Flow::kNext : Flow::kFault;
  }
}

template <Gate kGate, bool kFloat>
Handler vector_handler(Memory memory) {
  switch (memory) {
    case Memory::kRead:
      return run_vector<kGate, Memory::kRead, kFloat>;
    case Memory::kWrite:
      return run_vector<kGate, Memory::kWrite, kFloat>;
    default:
      return run_vector<kGate, Memory::kNone, kFloat>;
  }
}

template <Gate kGate>
Handler mmx_handler(Memory memory) {
  switch (memory) {
    case Memory::kRead:
      return run_mmx<kGate, Memory::kRead>;
    case Memory::kWrite:
      return run_mmx<kGate, Memory::kWrite>;
    default:
      return run_mmx<kGate, Memory::kNone>;
  }
}

// Instructions that read or change MXCSR (SDM vol. 2A §2.4, exception types 2, 3 and 11).
bool uses_mxcsr(const ZydisDecodedInstruction& info) {
  switch (info.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE2:
    case ZYDIS_EXCEPTION_CLASS_SSE3:
    case ZYDIS_EXCEPTION_CLASS_AVX2:
    case ZYDIS_EXCEPTION_CLASS_AVX3:
    case ZYDIS_EXCEPTION_CLASS_AVX11:
      return true;
    default:
      return false;
  }
}

// The alignment that a memory operand needs, minus one. Legacy SSE: 16-byte operands of types 1, 2 and 4 but
// for the explicitly unaligned ones; VEX: type 1 only, at the operand's size (SDM vol. 2A §2.4, vol. 1
// §14.9).
u8 alignment_mask(const ZydisDecodedInstruction& info, unsigned size) {
  switch (info.meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_AVX1:
      return static_cast<u8>(size - 1);
    case ZYDIS_EXCEPTION_CLASS_SSE1:
    case ZYDIS_EXCEPTION_CLASS_SSE2:
    case ZYDIS_EXCEPTION_CLASS_SSE4:
      break;
    default:
      // The conversions between packed doubles and MMX stand in no type; their 16-byte operand is aligned.
      return info.mnemonic == ZYDIS_MNEMONIC_CVTPD2PI || info.mnemonic == ZYDIS_MNEMONIC_CVTTPD2PI ? 15 : 0;
  }
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM:
      return 0;
    default:
      return size == 16 ? 15 : 0;
  }
}

bool names_class(const Request& request, ZydisRegisterClass wanted) {
  for (unsigned n = 0; n < request.decoded.info.operand_count; ++n)
    if (request.is_register(n) && ZydisRegisterGetClass(request.operand(n).reg.value) == wanted) return true;
  return false;
}

Flow zero_upper(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kAvx>(v.state)) [[unlikely]]
    return gate_fault(v, Gate::kAvx);
  // Outside 64-bit mode registers 8 to 15 keep their values (SDM vol. 2B, VZEROALL, VZEROUPPER).
  const unsigned count = i.legacy ? 8 : 16;
  std::fill_n(v.state.xsave.ymm_hi(0), 16 * count, u8{0});
  if (i.aux != 0) std::fill_n(v.state.xsave.xmm(0), 16 * count, u8{0});
  return Flow::kNext;
}

}  // namespace

bool bind_vector(const Request& request, Insn& out) {
  const ZydisDecodedInstruction& info = request.decoded.info;
  if (info.mnemonic == ZYDIS_MNEMONIC_VZEROALL || info.mnemonic == ZYDIS_MNEMONIC_VZEROUPPER) {
    out.run = zero_upper;
    out.legacy = !request.mode_64;
    out.aux = info.mnemonic == ZYDIS_MNEMONIC_VZEROALL;
    return true;
  }
  MemoryUse use;
  const ThunkSpec spec = plan_thunk(request.decoded, request.mode_64, use);
  Memory memory = Memory::kNone;
  if (use.operand != nullptr) {
    bind_memory(*use.operand, info, request.mode_64, out);
    out.size = static_cast<u8>(use.size);
    out.aux = alignment_mask(info, use.size);
    memory = use.written ? Memory::kWrite : Memory::kRead;
  }
  out.extra = reinterpret_cast<const void*>(request.thunks.get(spec));
  if (spec.whole_x87) {
    // Only what names an XMM register besides depends on CR4.OSFXSR.
    out.run = names_class(request, ZYDIS_REGCLASS_XMM) ? mmx_handler<Gate::kSseMmx>(memory)
                                                       : mmx_handler<Gate::kMmx>(memory);
  } else if (spec.vex) {
    out.run = uses_mxcsr(info) ? vector_handler<Gate::kAvx, true>(memory)
                               : vector_handler<Gate::kAvx, false>(memory);
  } else {
    out.run = uses_mxcsr(info) ? vector_handler<Gate::kSse, true>(memory)
                               : vector_handler<Gate::kSse, false>(memory);
  }
  return true;
}

}  // namespace vellum::interp::native
