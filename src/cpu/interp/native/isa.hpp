// Which instruction sets run here, what each needs of the CPU model, and which registers' availability guards
// it.
#pragma once

#include "cpu/interp/insn.hpp"
#include "x86/cpu_model.hpp"

namespace vellum::interp::native {

/// The family that binds an instruction set's members.
enum class Family : u8 {
  kX87,
  kVector,   ///< MMX, SSE and AVX data instructions
  kInteger,  ///< on general registers, VEX-encoded ones included
  kState,    ///< FXSAVE, XSAVE and their kin, MXCSR
  kHint,     ///< prefetches, cache line flushes
};

struct IsaRow {
  ZydisISASet set;
  Family family;
  x86::Feature feature;
  x86::Feature also;  ///< a second feature that it needs (or the same again)
};

/// The row of an instruction, or nullptr if it is not one of those served natively.
const IsaRow* find_isa(const ZydisDecodedInstruction& info);

/// What must be enabled for an instruction to run, checked each time: CR0, CR4 and XCR0 may change under
/// bound code.
enum class Gate : u8 {
  kX87,       ///< CR0.EM or TS: #NM; a pending unmasked exception: #MF
  kX87Quiet,  ///< as kX87 for the instructions that do not wait (FNSTSW …): no #MF
  kMmx,       ///< CR0.EM: #UD; TS: #NM; pending: #MF
  kSse,       ///< CR0.EM or no CR4.OSFXSR: #UD; TS: #NM
  kSseMmx,    ///< both
  kAvx,       ///< not protected mode, no CR4.OSXSAVE or XCR0[2:1] != 3: #UD; TS: #NM
  kVex,       ///< VEX-encoded integer instruction: protected mode only
  kFxsave,    ///< CR0.EM or TS: #NM
  kXsave,     ///< no CR4.OSXSAVE: #UD; TS: #NM
};

inline constexpr u16 kFswPending = 0x80;  // ES: an unmasked exception waits (SDM vol. 1 §8.1.3.3)

/// Whether the next waiting x87 or MMX instruction raises #MF.
inline bool x87_pending(VcpuState& s) {
  return (s.xsave.fsw() & kFswPending) != 0 || (s.xsave.fsw() & ~s.xsave.fcw() & 0x3f) != 0;
}

template <Gate kGate>
[[gnu::always_inline]] inline bool gate_open(VcpuState& s) {
  using namespace x86;
  if constexpr (kGate == Gate::kX87 || kGate == Gate::kMmx) {
    return (s.cr0 & (cr0::kEm | cr0::kTs)) == 0 && !x87_pending(s);
  } else if constexpr (kGate == Gate::kX87Quiet || kGate == Gate::kFxsave) {
    return (s.cr0 & (cr0::kEm | cr0::kTs)) == 0;
  } else if constexpr (kGate == Gate::kSse) {
    return ((s.cr0 & (cr0::kEm | cr0::kTs)) | (~s.cr4 & cr4::kOsfxsr)) == 0;
  } else if constexpr (kGate == Gate::kSseMmx) {
    return ((s.cr0 & (cr0::kEm | cr0::kTs)) | (~s.cr4 & cr4::kOsfxsr)) == 0 && !x87_pending(s);
  } else if constexpr (kGate == Gate::kAvx) {
    return ((~s.cr0 & cr0::kPe) | (s.cr0 & cr0::kTs) | (~s.cr4 & cr4::kOsxsave) |
            (~s.xcr0 & (xcr0::kSse | xcr0::kAvx)) | (s.rflags & rflags::kVm)) == 0;
  } else if constexpr (kGate == Gate::kVex) {
    return (s.cr0 & cr0::kPe) != 0 && (s.rflags & rflags::kVm) == 0;
  } else {
    static_assert(kGate == Gate::kXsave);
    return ((s.cr0 & cr0::kTs) | (~s.cr4 & cr4::kOsxsave)) == 0;
  }
}

/// Raises the exception of a gate that is not open (SDM vol. 2A §2.4-2.8, vol. 3A tables 2-2 and 12-1).
[[gnu::cold]] Flow gate_fault(Vcpu& v, Gate gate);

}  // namespace vellum::interp::native
