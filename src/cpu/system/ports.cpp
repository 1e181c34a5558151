// Port I/O: permission (SDM vol. 1 §19.5; vol. 3A §7.2, the I/O map of the TSS) and I/O breakpoints (vol. 3B
// §17.2).
#include "cpu/mmu/breakpoints.hpp"
#include "cpu/system/control.hpp"

namespace vellum {
namespace {

using namespace x86;

/// The bitmap of a 32-bit or 64-bit TSS: a set bit denies its port.
bool bitmap_permits(Vcpu& v, u16 port, unsigned size) {
  constexpr u32 kMapBaseOffset = 0x66;
  const Segment& tr = v.state.tr;
  const bool has_map = tr.present() && (tr.type() == kTss32Available || tr.type() == kTss32Busy);
  if (!has_map || tr.limit < kMapBaseOffset + 1) return v.raise_gp();
  const u64 mask = v.state.long_mode_active() ? ~u64{0} : 0xffffffff;
  u64 map_base = 0;
  if (!v.mmu.read_as(Privilege::kImplicit, (tr.base + kMapBaseOffset) & mask, 2, map_base)) return false;
  // Two bytes are always read, so the limit must cover the second even when the bits stand in the first.
  const u64 offset = map_base + port / 8;
  if (offset + 1 > tr.limit) return v.raise_gp();
  u64 map = 0;
  if (!v.mmu.read_as(Privilege::kImplicit, (tr.base + offset) & mask, 2, map)) return false;
  if (((map >> (port % 8)) & low_mask(size)) != 0) return v.raise_gp();
  return true;
}

/// DR6's B0-B3 for an access to `size` ports.
void match_io_breakpoints(Vcpu& v, u64 port, unsigned size) {
  const VcpuState& s = v.state;
  if ((s.cr4 & cr4::kDe) == 0 || (s.dr7 & dr7::kEnableMask) == 0) return;
  for (unsigned n = 0; n < 4; ++n) {
    if (!breakpoint_enabled(s.dr7, n) || breakpoint_kind(s.dr7, n) != BreakpointKind::kIo) continue;
    const u64 length = breakpoint_length(s.dr7, n);
    const u64 start = align_down(s.dr[n], length);
    if (port - start < length || start - port < size) v.mmu.breakpoint_hits |= 1u << n;
  }
}

}  // namespace

bool check_io_permission(Vcpu& v, u16 port, unsigned size) {
  const VcpuState& s = v.state;
  if (!s.protected_mode()) return true;
  if (!s.virtual_8086() && s.cpl <= bits(s.rflags, 13, 12)) return true;
  return bitmap_permits(v, port, size);
}

u64 port_read(Vcpu& v, u16 port, unsigned size) {
  match_io_breakpoints(v, port, size);
  return v.space.ports.read(port, size);
}

void port_write(Vcpu& v, u16 port, unsigned size, u64 value) {
  match_io_breakpoints(v, port, size);
  v.space.ports.write(port, size, value & low_mask(8 * size));
}

}  // namespace vellum
