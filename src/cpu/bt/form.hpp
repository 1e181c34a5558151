// How the translator treats one instruction: which of its few schemes, and what it does to flags.
#pragma once

#include "cpu/bt/layout.hpp"
#include "cpu/interp/unit.hpp"
#include "x86/decode.hpp"

namespace vellum::bt {

enum class Scheme : u8 {
  kCallOut,  ///< the interpreter's handler, called with all registers in memory
  kNothing,
  kGeneric,  ///< the same instruction on host registers, at most one memory operand
  kLea,
  kConvert,   ///< CBW CWDE CDQE CWD CDQ CQO
  kMultiply,  ///< MUL, IMUL with one operand
  kShiftByCl,
  kExchangeCompare,  ///< CMPXCHG
  kPush,
  kPop,
  kLeave,
  kJump,
  kJumpIf,
  kCall,
  kReturn,
  kJumpIndirect,
  kCallIndirect,
};

/// Flags are RFLAGS bits.
struct Form {
  Scheme scheme = Scheme::kCallOut;
  asmjit::InstId host = 0;  ///< kGeneric: the instruction to emit
  u64 reads = 0;
  u64 writes = 0;    ///< becomes what the host's flags are then
  u64 clobbers = 0;  ///< the host changes, but the guest keeps
  int memory = -1;   ///< the operand in memory
  bool memory_written = false;
  bool byte_immediate = false;  ///< a count or bit number
  bool observable = true;       ///< may fault, store or call out: flags must be exact before it
};

Form form_of(const x86::Decoded& d, const interp::Insn& insn);

}  // namespace vellum::bt
