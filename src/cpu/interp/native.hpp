// Data instructions of x87, MMX, SSE, AVX and their kin run natively on the host's units: a thunk loads the
// guest's registers that the instruction names, runs the same instruction with its memory operand remapped,
// and stores what it wrote. The control flow around them (#NM, #UD by CR0/CR4/XCR0, alignment, page faults,
// #XM and #MF, MXCSR) is ours.
//
// Thunks do not depend on addresses, so equal instructions share one; they live until the engine drops all of
// them.
#pragma once

#include <memory>

#include "cpu/interp/insn.hpp"

namespace vellum::interp {

class NativeCode {
 public:
  NativeCode();
  ~NativeCode();

  /// Binds `decoded` to a handler if it is one of the instructions served here: every x87, MMX, SSE*, AVX,
  /// AVX2, FMA, F16C, AES, PCLMUL, SHA instruction, FXSAVE/FXRSTOR, XSAVE*/XRSTOR*, LDMXCSR/STMXCSR, EMMS,
  /// and the rarer integer ones that are cheapest to run natively (BMI1/2 PDEP, PEXT …, CRC32, ADX, POPCNT,
  /// LZCNT, TZCNT). False: not one. A feature that the CPU model lacks binds to #UD.
  bool bind(const x86::Decoded& decoded, const Vcpu& v, bool mode_64, Insn& out);

  /// The code area is nearly full: drop every Insn that was bound, then call clear().
  bool full() const;
  void clear();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::interp
