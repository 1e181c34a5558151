// The guest's arithmetic flags between the host's flags, Context::flags (packed) and the bits of RFLAGS.
#pragma once

#include "cpu/bt/layout.hpp"

namespace vellum::bt {

// Both take RAX.
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

/// `to` := the packed flags as bits of RFLAGS, all others 0. Takes `spare` and the host's flags.
inline void emit_flags_of_packed(a::Assembler& as, const a::Gp& to, const a::Gp& spare) {
  as.movzx(to.r32(), field(offsetof(Context, flags), 2));
  as.mov(spare.r32(), to.r32());
  as.shr(to.r32(), 8);
  as.and_(to.r32(), 0xd5);
  as.and_(spare.r32(), 1);
  as.shl(spare.r32(), 11);
  as.or_(to.r32(), spare.r32());
}
/// The packed flags := those bits of `rflags`. Takes `rflags`, `spare` and the host's flags.
inline void emit_packed_of_flags(a::Assembler& as, const a::Gp& rflags, const a::Gp& spare) {
  as.mov(spare.r32(), rflags.r32());
  as.shl(spare.r32(), 8);
  as.and_(spare.r32(), 0xd500);
  as.shr(rflags.r32(), 11);
  as.and_(rflags.r32(), 1);
  as.or_(spare.r32(), rflags.r32());
  as.mov(field(offsetof(Context, flags), 2), spare.r16());
}

}  // namespace vellum::bt
