// INT n, INT3, INTO and INT1, and where virtual-8086 mode sends them (SDM vol. 3A §20.3.3, table 20-2).
#include "cpu/system/event_delivery.hpp"
#include "cpu/system/events.hpp"
#include "cpu/system/privilege.hpp"
#include "cpu/system/transfers.hpp"

namespace vellum {

using namespace protection;
using x86::EventKind;
namespace flag = x86::rflags;

namespace {

/// The bit of the TSS's interrupt redirection bitmap, the 32 bytes below the I/O permission bitmap: true: to
/// the protected-mode handler. #GP(0) if the TSS has none.
bool redirection_bit(Vcpu& v, u8 vector, bool& to_monitor) {
  const x86::Segment& tr = v.state.tr;
  const bool is_32_bit = tr.type() == x86::kTss32Busy || tr.type() == x86::kTss32Available;
  if (!is_32_bit || tr.limit < 103) return v.raise_gp(0);
  u64 io_base = 0;
  if (!v.mmu.read_as(Privilege::kImplicit, wrap_linear(v, tr.base + 102), 2, io_base)) return false;
  if (io_base < 32) return v.raise_gp(0);
  const u64 offset = io_base - 32 + vector / 8;
  if (offset > tr.limit) return v.raise_gp(0);
  u64 byte = 0;
  if (!v.mmu.read_as(Privilege::kImplicit, wrap_linear(v, tr.base + offset), 1, byte)) return false;
  to_monitor = (byte >> (vector % 8) & 1) != 0;
  return true;
}

/// Methods 5 and 6: to the 8086 program's own handler, by the vector table at linear address 0.
bool redirect_to_program(Vcpu& v, u8 vector, bool virtual_if) {
  u64 image = v.state.rflags;
  if (virtual_if) {
    const u64 shown_if = (image & flag::kVif) != 0 ? flag::kIf : 0;
    image = (image & ~flag::kIf) | flag::kIopl | shown_if;
  }
  if (!deliver_through_ivt(v, vector, 0, image)) return false;
  v.state.rflags &= ~(flag::kTf | flag::kRf | (virtual_if ? flag::kVif : flag::kIf));
  v.mmu.update_context();
  return true;
}

}  // namespace

bool software_interrupt(Vcpu& v, u8 vector, EventKind kind) {
  const bool v86 = v.state.protected_mode() && v.state.virtual_8086();
  if (v86 && kind == EventKind::kSoftwareInterrupt) {
    const bool trusted = (v.state.rflags & flag::kIopl) == flag::kIopl;
    if ((v.state.cr4 & x86::cr4::kVme) != 0) {
      bool to_monitor = false;
      if (!redirection_bit(v, vector, to_monitor)) return false;
      if (!to_monitor) return redirect_to_program(v, vector, !trusted);
    }
    if (!trusted) return v.raise_gp(0);
  }
  return try_deliver(v, {.vector = vector, .kind = kind});
}

}  // namespace vellum
