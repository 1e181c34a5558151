// The guest's arithmetic flags between the host's flags and Context::flags. Both take RAX.
#pragma once

#include "cpu/bt/layout.hpp"

namespace vellum::bt {

inline void emit_pack_flags(a::Assembler& as) {
  as.lahf();
  as.seto(a::al);
  as.mov(field(offsetof(Context, flags), 2), a::ax);
}
inline void emit_unpack_flags(a::Assembler& as) {
  as.movzx(a::eax, field(offsetof(Context, flags), 2));
  as.add(a::al, 0x7f);  // overflows exactly if the packed OF is 1
  as.sahf();
}

}  // namespace vellum::bt
