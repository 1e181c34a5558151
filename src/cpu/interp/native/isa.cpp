#include "cpu/interp/native/isa.hpp"

#include <array>

namespace vellum::interp::native {
namespace {

using x86::Feature;

constexpr std::array kIsaTable = {
    IsaRow{ZYDIS_ISA_SET_X87, Family::kX87, Feature::kFpu, Feature::kFpu},
    IsaRow{ZYDIS_ISA_SET_FCMOV, Family::kX87, Feature::kFpu, Feature::kCmov},
    IsaRow{ZYDIS_ISA_SET_SSE3X87, Family::kX87, Feature::kFpu, Feature::kSse3},
    IsaRow{ZYDIS_ISA_SET_PENTIUMMMX, Family::kVector, Feature::kMmx, Feature::kMmx},
    IsaRow{ZYDIS_ISA_SET_SSE, Family::kVector, Feature::kSse, Feature::kSse},
    IsaRow{ZYDIS_ISA_SET_SSE2, Family::kVector, Feature::kSse2, Feature::kSse2},
    IsaRow{ZYDIS_ISA_SET_SSE2MMX, Family::kVector, Feature::kSse2, Feature::kMmx},
    IsaRow{ZYDIS_ISA_SET_SSE3, Family::kVector, Feature::kSse3, Feature::kSse3},
    IsaRow{ZYDIS_ISA_SET_SSSE3, Family::kVector, Feature::kSsse3, Feature::kSsse3},
    IsaRow{ZYDIS_ISA_SET_SSSE3MMX, Family::kVector, Feature::kSsse3, Feature::kMmx},
    IsaRow{ZYDIS_ISA_SET_SSE4, Family::kVector, Feature::kSse41, Feature::kSse41},
    IsaRow{ZYDIS_ISA_SET_SSE42, Family::kVector, Feature::kSse42, Feature::kSse42},
    IsaRow{ZYDIS_ISA_SET_SSE4A, Family::kVector, Feature::kSse4a, Feature::kSse4a},
    IsaRow{ZYDIS_ISA_SET_AES, Family::kVector, Feature::kAes, Feature::kAes},
    IsaRow{ZYDIS_ISA_SET_PCLMULQDQ, Family::kVector, Feature::kPclmul, Feature::kPclmul},
    IsaRow{ZYDIS_ISA_SET_SHA, Family::kVector, Feature::kSha, Feature::kSha},
    IsaRow{ZYDIS_ISA_SET_GFNI, Family::kVector, Feature::kGfni, Feature::kGfni},
    IsaRow{ZYDIS_ISA_SET_AVX, Family::kVector, Feature::kAvx, Feature::kAvx},
    IsaRow{ZYDIS_ISA_SET_AVX2, Family::kVector, Feature::kAvx2, Feature::kAvx2},
    IsaRow{ZYDIS_ISA_SET_AVX2GATHER, Family::kVector, Feature::kAvx2, Feature::kAvx2},
    IsaRow{ZYDIS_ISA_SET_AVXAES, Family::kVector, Feature::kAes, Feature::kAvx},
    IsaRow{ZYDIS_ISA_SET_AVX_GFNI, Family::kVector, Feature::kGfni, Feature::kAvx},
    IsaRow{ZYDIS_ISA_SET_F16C, Family::kVector, Feature::kF16c, Feature::kAvx},
    IsaRow{ZYDIS_ISA_SET_FMA, Family::kVector, Feature::kFma, Feature::kAvx},
    IsaRow{ZYDIS_ISA_SET_VAES, Family::kVector, Feature::kVaes, Feature::kAvx},
    IsaRow{ZYDIS_ISA_SET_VPCLMULQDQ, Family::kVector, Feature::kVpclmul, Feature::kAvx},
    IsaRow{ZYDIS_ISA_SET_ADOX_ADCX, Family::kInteger, Feature::kAdx, Feature::kAdx},
    IsaRow{ZYDIS_ISA_SET_BMI1, Family::kInteger, Feature::kBmi1, Feature::kBmi1},
    IsaRow{ZYDIS_ISA_SET_BMI2, Family::kInteger, Feature::kBmi2, Feature::kBmi2},
    IsaRow{ZYDIS_ISA_SET_LZCNT, Family::kInteger, Feature::kAbm, Feature::kAbm},
    IsaRow{ZYDIS_ISA_SET_POPCNT, Family::kInteger, Feature::kPopcnt, Feature::kPopcnt},
    IsaRow{ZYDIS_ISA_SET_MOVBE, Family::kInteger, Feature::kMovbe, Feature::kMovbe},
    IsaRow{ZYDIS_ISA_SET_RDRAND, Family::kInteger, Feature::kRdrand, Feature::kRdrand},
    IsaRow{ZYDIS_ISA_SET_RDSEED, Family::kInteger, Feature::kRdseed, Feature::kRdseed},
    IsaRow{ZYDIS_ISA_SET_SSEMXCSR, Family::kState, Feature::kSse, Feature::kSse},
    IsaRow{ZYDIS_ISA_SET_FXSAVE, Family::kState, Feature::kFxsr, Feature::kFxsr},
    IsaRow{ZYDIS_ISA_SET_FXSAVE64, Family::kState, Feature::kFxsr, Feature::kFxsr},
    IsaRow{ZYDIS_ISA_SET_XSAVE, Family::kState, Feature::kXsave, Feature::kXsave},
    IsaRow{ZYDIS_ISA_SET_XSAVEOPT, Family::kState, Feature::kXsaveopt, Feature::kXsave},
    IsaRow{ZYDIS_ISA_SET_XSAVEC, Family::kState, Feature::kXsavec, Feature::kXsave},
    IsaRow{ZYDIS_ISA_SET_XSAVES, Family::kState, Feature::kXsaves, Feature::kXsave},
    IsaRow{ZYDIS_ISA_SET_SSE_PREFETCH, Family::kHint, Feature::kSse, Feature::kSse},
    IsaRow{ZYDIS_ISA_SET_CLFSH, Family::kHint, Feature::kClflush, Feature::kClflush},
    IsaRow{ZYDIS_ISA_SET_CLFLUSHOPT, Family::kHint, Feature::kClflushopt, Feature::kClflushopt},
    IsaRow{ZYDIS_ISA_SET_CLWB, Family::kHint, Feature::kClwb, Feature::kClwb},
    IsaRow{ZYDIS_ISA_SET_CLZERO, Family::kHint, Feature::kClzero, Feature::kClzero},
};

// Instructions that share a set with others, but not its family or its features.
constexpr IsaRow kFcomi{ZYDIS_ISA_SET_PPRO, Family::kX87, Feature::kFpu, Feature::kCmov};
constexpr IsaRow kFisttp{ZYDIS_ISA_SET_SSE3, Family::kX87, Feature::kFpu, Feature::kSse3};
constexpr IsaRow kCrc32{ZYDIS_ISA_SET_SSE42, Family::kInteger, Feature::kSse42, Feature::kSse42};
constexpr IsaRow kMovnti{ZYDIS_ISA_SET_SSE2, Family::kInteger, Feature::kSse2, Feature::kSse2};
constexpr IsaRow kSfence{ZYDIS_ISA_SET_SSE, Family::kHint, Feature::kSse, Feature::kSse};
constexpr IsaRow kFence{ZYDIS_ISA_SET_SSE2, Family::kHint, Feature::kSse2, Feature::kSse2};
constexpr IsaRow kVexMxcsr{ZYDIS_ISA_SET_AVX, Family::kState, Feature::kAvx, Feature::kAvx};
constexpr IsaRow kVexPclmul{ZYDIS_ISA_SET_AVX, Family::kVector, Feature::kPclmul, Feature::kAvx};
constexpr IsaRow kPrefetch{ZYDIS_ISA_SET_PREFETCH_NOP, Family::kHint, Feature::kFpu, Feature::kFpu};

}  // namespace

const IsaRow* find_isa(const ZydisDecodedInstruction& info) {
  if (info.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && info.encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
    return nullptr;
  switch (info.mnemonic) {
    case ZYDIS_MNEMONIC_FCOMI:
    case ZYDIS_MNEMONIC_FCOMIP:
    case ZYDIS_MNEMONIC_FUCOMI:
    case ZYDIS_MNEMONIC_FUCOMIP:
      return &kFcomi;
    case ZYDIS_MNEMONIC_FISTTP:
      return &kFisttp;
    case ZYDIS_MNEMONIC_CRC32:
      return &kCrc32;
    case ZYDIS_MNEMONIC_MOVNTI:
      return &kMovnti;
    case ZYDIS_MNEMONIC_SFENCE:
      return &kSfence;
    case ZYDIS_MNEMONIC_LFENCE:
    case ZYDIS_MNEMONIC_MFENCE:
      return &kFence;
    case ZYDIS_MNEMONIC_VLDMXCSR:
    case ZYDIS_MNEMONIC_VSTMXCSR:
      return &kVexMxcsr;
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
      return &kPrefetch;
    case ZYDIS_MNEMONIC_VPCLMULQDQ:
      if (info.meta.isa_set == ZYDIS_ISA_SET_AVX) return &kVexPclmul;
      break;
    case ZYDIS_MNEMONIC_XGETBV:
    case ZYDIS_MNEMONIC_XSETBV:
      return nullptr;
    default:
      break;
  }
  for (const IsaRow& row : kIsaTable)
    if (row.set == info.meta.isa_set) return &row;
  return nullptr;
}

Flow gate_fault(Vcpu& v, Gate gate) {
  using namespace x86;
  const VcpuState& s = v.state;
  bool undefined = false;
  switch (gate) {
    case Gate::kX87:
    case Gate::kX87Quiet:
    case Gate::kFxsave:
      if ((s.cr0 & (cr0::kEm | cr0::kTs)) != 0) {
        v.raise(kNm);
        return Flow::kFault;
      }
      break;
    case Gate::kMmx:
      undefined = (s.cr0 & cr0::kEm) != 0;
      break;
    case Gate::kSse:
    case Gate::kSseMmx:
      undefined = (s.cr0 & cr0::kEm) != 0 || (s.cr4 & cr4::kOsfxsr) == 0;
      break;
    case Gate::kAvx:
      undefined = !s.protected_mode() || s.virtual_8086() || (s.cr4 & cr4::kOsxsave) == 0 ||
                  (~s.xcr0 & (xcr0::kSse | xcr0::kAvx)) != 0;
      break;
    case Gate::kVex:
      undefined = true;
      break;
    case Gate::kXsave:
      undefined = (s.cr4 & cr4::kOsxsave) == 0;
      break;
  }
  if (undefined) {
    v.raise_ud();
  } else if ((s.cr0 & cr0::kTs) != 0) {
    v.raise(kNm);
  } else {
    v.raise(kMf);
  }
  return Flow::kFault;
}

}  // namespace vellum::interp::native
