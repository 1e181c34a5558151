// Control registers (SDM vol. 2B, MOV—Move to/from Control Registers, LMSW, CLTS; vol. 3A §2.5, §4.1,
// §4.10.4, §9.8.5).
#include "cpu/system/control.hpp"

#include "cpu/mmu/walk.hpp"

namespace vellum {
namespace {

using namespace x86;

u16 current_pcid(const VcpuState& s) {
  return (s.cr4 & cr4::kPcide) != 0 ? static_cast<u16>(s.cr3 & 0xfff) : u16{0};
}

bool pae_paging(u64 cr0_value, u64 cr4_value, u64 efer_value) {
  return (cr0_value & cr0::kPg) != 0 && (cr4_value & cr4::kPae) != 0 && (efer_value & efer::kLme) == 0;
}

/// Reloads the PDPTEs from `cr3_value`; #GP(0) if one has a reserved bit set.
bool reload_pdptes(Vcpu& v, u64 cr3_value) {
  return load_pdptes(v.space, v.mmu.paging_features(), cr3_value, v.state.pdpte) || v.raise_gp();
}

/// The checks on activating IA-32e mode, when paging is turned on with EFER.LME set (vol. 3A §9.8.5).
bool long_mode_may_start(const VcpuState& s) {
  const bool tss_is_16_bit = s.tr.type() == kTss16Available || s.tr.type() == kTss16Busy;
  return (s.cr4 & cr4::kPae) != 0 && !s.segment(Seg::kCs).long_mode() && !tss_is_16_bit;
}

bool write_cr0(Vcpu& v, u64 value) {
  constexpr u64 kDefined = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs | cr0::kNe | cr0::kWp | cr0::kAm |
                           cr0::kNw | cr0::kCd | cr0::kPg;
  VcpuState& s = v.state;
  if (value >> 32 != 0) return v.raise_gp();
  value = (value & kDefined) | cr0::kEt;  // the low half's reserved bits are ignored
  if ((value & cr0::kPg) != 0 && (value & cr0::kPe) == 0) return v.raise_gp();
  if ((value & cr0::kNw) != 0 && (value & cr0::kCd) == 0) return v.raise_gp();

  const u64 changed = s.cr0 ^ value;
  u64 efer_value = s.msr.efer;
  if ((changed & cr0::kPg) != 0) {
    if ((value & cr0::kPg) != 0) {
      if ((efer_value & efer::kLme) != 0) {
        if (!long_mode_may_start(s)) return v.raise_gp();
        efer_value |= efer::kLma;
      }
    } else {
      if (s.mode_64() || (s.cr4 & cr4::kPcide) != 0) return v.raise_gp();
      efer_value &= ~efer::kLma;
    }
  }
  if (pae_paging(value, s.cr4, efer_value) && (changed & (cr0::kPg | cr0::kCd | cr0::kNw)) != 0)
    if (!reload_pdptes(v, s.cr3)) return false;

  s.cr0 = value;
  s.msr.efer = efer_value;
  if ((changed & value & cr0::kNe) != 0) v.board.drive_ferr(false);
  // The architecture asks for a flush only when PG is cleared; translations made while paging was off, or
  // under another WP, must not outlive the change in our TLB either.
  if ((changed & (cr0::kPg | cr0::kWp)) != 0) v.mmu.flush_all();
  v.mmu.update_context();
  return true;
}

bool write_cr3(Vcpu& v, u64 value) {
  VcpuState& s = v.state;
  const bool pcide = (s.cr4 & cr4::kPcide) != 0;
  const bool keep_entries = pcide && (value & bit(63)) != 0;
  if (pcide) value &= ~bit(63);
  if (value >> v.model.physical_bits() != 0) return v.raise_gp();
  if (pae_paging(s.cr0, s.cr4, s.msr.efer) && !reload_pdptes(v, value)) return false;
  s.cr3 = value;
  v.mmu.switch_address_space(current_pcid(s));
  if (!keep_entries) v.mmu.flush_non_global();
  return true;
}

bool write_cr4(Vcpu& v, u64 value) {
  constexpr u64 kPdpteTriggers = cr4::kPae | cr4::kPge | cr4::kPse | cr4::kSmep;
  constexpr u64 kFlushTriggers = kPdpteTriggers | cr4::kPcide | cr4::kSmap;
  VcpuState& s = v.state;
  if ((value & ~v.model.cr4_valid_bits()) != 0) return v.raise_gp();
  if (s.long_mode_active() && (value & cr4::kPae) == 0) return v.raise_gp();
  const u64 changed = s.cr4 ^ value;
  const bool pcide_starts = (changed & value & cr4::kPcide) != 0;
  if (pcide_starts && (!s.long_mode_active() || (s.cr3 & 0xfff) != 0)) return v.raise_gp();
  if (pae_paging(s.cr0, value, s.msr.efer) && (changed & kPdpteTriggers) != 0)
    if (!reload_pdptes(v, s.cr3)) return false;

  s.cr4 = value;
  if ((changed & cr4::kPcide) != 0) v.mmu.switch_address_space(current_pcid(s));
  if ((changed & kFlushTriggers) != 0) v.mmu.flush_all();
  v.mmu.update_context();
  return true;
}

bool write_cr8(Vcpu& v, u64 value) {
  if (value > 15) return v.raise_gp();
  v.board.write_cr8(static_cast<u8>(value));
  return true;
}

bool exists(const Vcpu& v, unsigned n) {
  return n == 0 || (n >= 2 && n <= 4) || (n == 8 && v.state.mode_64());
}

}  // namespace

bool write_cr(Vcpu& v, unsigned n, u64 value) {
  if (!exists(v, n)) return v.raise_ud();
  if (v.state.cpl != 0) return v.raise_gp();
  switch (n) {
    case 0:
      return write_cr0(v, value);
    case 2:
      v.state.cr2 = value;
      return true;
    case 3:
      return write_cr3(v, value);
    case 4:
      return write_cr4(v, value);
    default:
      return write_cr8(v, value);
  }
}

bool read_cr(Vcpu& v, unsigned n, u64& value) {
  if (!exists(v, n)) return v.raise_ud();
  if (v.state.cpl != 0) return v.raise_gp();
  switch (n) {
    case 0:
      value = v.state.cr0;
      break;
    case 2:
      value = v.state.cr2;
      break;
    case 3:
      value = v.state.cr3;
      break;
    case 4:
      value = v.state.cr4;
      break;
    default:
      value = v.board.read_cr8();
      break;
  }
  return true;
}

bool load_msw(Vcpu& v, u16 value) {
  constexpr u64 kLoaded = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs;
  if (v.state.cpl != 0) return v.raise_gp();
  // PE can be set but not cleared.
  return write_cr0(v, (v.state.cr0 & ~(kLoaded & ~cr0::kPe)) | (value & kLoaded));
}

bool clear_ts(Vcpu& v) {
  if (v.state.cpl != 0) return v.raise_gp();
  v.state.cr0 &= ~cr0::kTs;
  v.mmu.update_context();
  return true;
}

void resync(Vcpu& v) {
  v.mmu.set_paging_features({.physical_bits = v.model.physical_bits(),
                             .pse36 = v.model.has(Feature::kPse36),
                             .gib_pages = v.model.has(Feature::kPdpe1gb)});
  v.mmu.switch_address_space(current_pcid(v.state));
  v.mmu.flush_all();
  v.mmu.update_context();
}

}  // namespace vellum
