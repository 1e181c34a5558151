// The guest's arithmetic flags: in the host's flags while instructions set and read them, packed in
// Context::flags where something else may look or the host's flags are needed.
#include "cpu/bt/emitter.hpp"
#include "cpu/bt/flag_moves.hpp"

namespace vellum::bt {

using namespace x86::rflags;

namespace {
a::Mem flags_at() {
  return field(offsetof(Context, flags), 2);
}
}  // namespace

// Context::flags := the host's, and back. Take RAX.
void Emitter::pack_host_flags() {
  emit_pack_flags(as_);
}
void Emitter::unpack_host_flags() {
  emit_unpack_flags(as_);
}

// Brings Context::flags up to date. Takes RAX. `address_live`: R14 and R15 are in use.
void Emitter::save_flags(bool address_live) {
  if (packed_ == kArithmetic) return;
  as_.lahf();
  as_.seto(a::al);
  if (host_ != kArithmetic) {  // a part only: merge, which costs the host's flags
    const u16 fresh = pack_flags(kArithmetic & ~packed_);
    const a::Mem saved = field(offsetof(Context, scratch), 8);
    if (address_live) as_.mov(saved, kT2);
    as_.and_(a::eax, u32{fresh});
    as_.movzx(kT2.r32(), flags_at());
    as_.and_(kT2.r32(), static_cast<u32>(u16(~fresh)));
    as_.or_(a::eax, kT2.r32());
    if (address_live) as_.mov(kT2, saved);
    host_ = 0;
  }
  as_.mov(flags_at(), a::ax);
  packed_ = kArithmetic;
}

// Makes the host's flags hold these of the guest's. Takes RAX.
void Emitter::need_flags(u64 mask) {
  if ((mask & ~host_) == 0) return;
  save_flags();
  if (mask == kCf) {
    as_.bt(flags_at(), 8);
    host_ = kCf;
    return;
  }
  unpack_host_flags();
  host_ = kArithmetic;
}

// Before an instruction that gives the host new flags `writes` and spoils `clobbers`.
void Emitter::before_writing(u64 writes, u64 clobbers) {
  if ((writes | clobbers) == 0) return;
  // What only the host holds and the instruction loses, unless nobody asks for it.
  const u64 lost = host_ & ~packed_ & clobbers;
  if ((lost & live_[n_]) != 0)
    save_flags();
  else
    packed_ |= lost;
}

void Emitter::after_writing(u64 writes, u64 clobbers) {
  host_ = (host_ & ~clobbers) | writes;
  packed_ &= ~writes;
}

}  // namespace vellum::bt
