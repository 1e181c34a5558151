// SYSCALL and SYSRET of 64-bit code without C++ (docs/design/binary-translation.md, "Privileged and sensitive
// instructions").
#pragma once

#include "cpu/bt/layout.hpp"

namespace vellum::bt {

struct PrivilegeExits {
  asmjit::Label call_out;    ///< where all that is unusual goes, with RAX and the stack as they came
  asmjit::Label leave_jump;  ///< where a target goes that is not known, or before which something pends
};

/// Called with RAX the Site, the flags packed. They do not come back.
void emit_system_call(a::Assembler& as, const Distances& d, const PrivilegeExits& exits);
void emit_system_return(a::Assembler& as, const Distances& d, const PrivilegeExits& exits);

/// Whether it is known how accesses of namespace rights' `shift` go; else to `otherwise`. Takes the host's
/// flags.
void emit_require_way(a::Assembler& as, u32 shift, const asmjit::Label& otherwise);
/// From here on they go so. Takes R14.
void emit_take_way(a::Assembler& as, u32 shift);

}  // namespace vellum::bt
