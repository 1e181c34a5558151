// Exceptions as values (SDM vol. 3A ch. 6). A guest fault is architecture, not an error of ours.
#pragma once

#include "base/int.hpp"

namespace vellum::x86 {

// clang-format off
enum Vector : u8 {
  kDe = 0, kDb = 1, kNmi = 2, kBp = 3, kOf = 4, kBr = 5, kUd = 6, kNm = 7, kDf = 8, kTs = 10, kNp = 11, kSs = 12,
  kGp = 13, kPf = 14, kMf = 16, kAc = 17, kMc = 18, kXm = 19,
};
// clang-format on

/// Page-fault error code bits (SDM vol. 3A §4.7).
namespace pf {
inline constexpr u32 kPresent = 1, kWrite = 2, kUser = 4, kReserved = 8, kFetch = 16;
}

/// How an event came about; it decides privilege checks, the EXT bit, RF, and what RIP is pushed.
enum class EventKind : u8 {
  kFault,               ///< exception whose saved RIP is the instruction itself
  kTrap,                ///< exception whose saved RIP is the next instruction (#DB traps)
  kSoftwareInterrupt,   ///< INT n: checked against the gate's DPL, no EXT
  kSoftwareException,   ///< INT3, INTO: checked against the gate's DPL
  kPrivilegedSoftware,  ///< INT1: a #DB without DPL check
  kInterrupt,           ///< external interrupt or NMI: EXT set
};

struct Exception {
  u8 vector = 0;
  EventKind kind = EventKind::kFault;
  bool has_error_code = false;
  u32 error_code = 0;
  u64 address = 0;  ///< #PF: CR2. #DB: the bits to OR into DR6.
};

/// Whether the processor pushes an error code for this exception vector (protected mode).
constexpr bool vector_has_error_code(u8 vector) {
  switch (vector) {
    case kDf:
    case kTs:
    case kNp:
    case kSs:
    case kGp:
    case kPf:
    case kAc:
      return true;
    default:
      return false;
  }
}

/// "#PF", "NMI" …; "interrupt" beyond the architectural vectors.
const char* vector_name(u8 vector);

}  // namespace vellum::x86
