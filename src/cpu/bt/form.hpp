// How the translator treats one instruction: which of its few schemes, and what it does to flags.
#pragma once

#include <optional>

#include "cpu/bt/layout.hpp"
#include "cpu/interp/unit.hpp"
#include "x86/decode.hpp"

namespace vellum::bt {

enum class Scheme : u8 {
  kCallOut,  ///< the interpreter's handler, called with all registers in memory
  kNothing,
  kGeneric,  ///< the same instruction on host registers, at most one memory operand
  kLea,
  kConvert,          ///< CBW CWDE CDQE CWD CDQ CQO
  kMultiply,         ///< MUL, IMUL with one operand
  kExchangeCompare,  ///< CMPXCHG
  kPush,
  kPop,
  kLeave,
  kVector,       ///< MMX, SSE, AVX, x87: the same instruction on the host's registers
  kLoadControl,  ///< FLDCW, LDMXCSR
  kStatusToAx,   ///< FNSTSW AX
  kPushMemory,
  kPushFlags,
  kPopFlags,
  kDivide,         ///< DIV, IDIV
  kBitInMemory,    ///< BT, BTS, BTR, BTC with a register's bit offset
  kExchangePairs,  ///< CMPXCHG16B
  kSystem,      ///< with a short way: CLI STI SWAPGS RDTSC RDTSCP, MOV from CR, fences … (emit_system.cpp)
  kPrivilege,   ///< of 64-bit code, with one too: STAC CLAC RDMSR WRMSR RDFSBASE … (emit_privilege.cpp)
  kSystemCall,  ///< SYSCALL and 64-bit SYSRET (privilege_routines.hpp)
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
  u8 borrowed = 0;              ///< register operands that the host has in memory
  u8 vectors = 0;               ///< VectorBits that it needs
  u8 alignment = 0;             ///< what the memory operand's address must be a multiple of, minus one
  bool sets_fip = false;        ///< becomes the last x87 instruction, with its operand's address
  bool byte_immediate = false;  ///< a count or bit number
  bool observable = true;       ///< may fault, store or call out: flags must be exact before it
};

/// Those of form_system.cpp; nullopt: not its business.
std::optional<Form> system_form(const x86::Decoded& d, bool last);
/// AH, BH, CH or DH.
bool is_high_byte(ZydisRegister r);

/// `last`: of its unit.
Form form_of(const x86::Decoded& d, const interp::Insn& insn, const x86::CpuModel& model, bool last);

/// Of 32-bit code: what the same instruction of 64-bit code does, but the host cannot do for it, is called
/// out for.
void narrow_form(const x86::Decoded& d, Form& form);

/// Whether visible operands are general registers, immediates and at most one memory operand, and scratch
/// registers suffice for those registers that are in memory. Sets form's memory fields.
bool plain_operands(const x86::Decoded& d, Form& form);

// Parts of form_of(): kCallOut for what is none of theirs.
Form vector_form(const x86::Decoded& d, const interp::Insn& insn);            ///< MMX, SSE, AVX, x87
Form native_integer_form(const x86::Decoded& d, const x86::CpuModel& model);  ///< BMI, ADX, CRC32, MOVBE …

}  // namespace vellum::bt
