#include "cpu/state_check.hpp"

#include <algorithm>

namespace vellum {
namespace {

using namespace x86;

constexpr u64 kCr0Defined = cr0::kPe | cr0::kMp | cr0::kEm | cr0::kTs | cr0::kEt | cr0::kNe | cr0::kWp |
                            cr0::kAm | cr0::kNw | cr0::kCd | cr0::kPg;
constexpr u32 kMxcsrDefined = 0xffff;
constexpr u16 kSegmentReserved = 0xf00;
constexpr u64 kHigh32 = ~u64{0xffff'ffff};

/// `a` implies `b`.
constexpr bool implies(bool a, bool b) {
  return !a || b;
}

bool control_is_possible(const VcpuState& s, const CpuModel& model) {
  const bool paging = (s.cr0 & cr0::kPg) != 0;
  return (s.cr0 & ~kCr0Defined) == 0 && implies(paging, s.protected_mode()) &&
         implies((s.cr0 & cr0::kNw) != 0, (s.cr0 & cr0::kCd) != 0) && s.cr3 >> model.physical_bits() == 0 &&
         (s.cr4 & ~model.cr4_valid_bits()) == 0 && implies((s.cr4 & cr4::kPcide) != 0, s.long_mode_active());
}

bool long_mode_is_possible(const VcpuState& s, const CpuModel& model) {
  const bool enabled = (s.msr.efer & efer::kLme) != 0;
  const bool paging = (s.cr0 & cr0::kPg) != 0;
  return (s.msr.efer & ~model.efer_valid_bits()) == 0 && s.long_mode_active() == (enabled && paging) &&
         implies(s.long_mode_active(), (s.cr4 & cr4::kPae) != 0);
}

bool flags_are_possible(const VcpuState& s) {
  return (s.rflags & ~rflags::kAll) == 0 && (s.rflags & rflags::kFixed1) != 0 &&
         implies(s.virtual_8086(), s.protected_mode() && !s.long_mode_active());
}

bool privilege_is_possible(const VcpuState& s) {
  return s.cpl <= 3 && implies(s.real_mode(), s.cpl == 0) && implies(s.virtual_8086(), s.cpl == 3);
}

bool segments_are_possible(const VcpuState& s) {
  const auto possible = [](const Segment& segment) {
    return (segment.attributes & kSegmentReserved) == 0 && is_canonical(segment.base);
  };
  const Segment& cs = s.segment(Seg::kCs);
  return std::ranges::all_of(s.seg, possible) && possible(s.ldtr) && possible(s.tr) &&
         implies(s.mode_64(), !cs.big()) && is_canonical(s.gdtr.base) && is_canonical(s.idtr.base);
}

bool vector_state_is_possible(const VcpuState& s, const CpuModel& model) {
  XsaveArea area = s.xsave;
  const bool header_is_standard =
      std::all_of(area.header.begin() + 8, area.header.end(), [](u8 b) { return b == 0; });
  return (s.xcr0 & xcr0::kX87) != 0 && (s.xcr0 & ~(model.xcr0_valid_bits() | xcr0::kX87)) == 0 &&
         implies((s.xcr0 & xcr0::kAvx) != 0, (s.xcr0 & xcr0::kSse) != 0) &&
         (area.mxcsr() & ~kMxcsrDefined) == 0 && header_is_standard;
}

/// The memory types that a PAT field or an MTRR can name (vol. 3A table 11-11).
bool memory_types_are_possible(const MsrState& msr) {
  for (unsigned i = 0; i < 8; ++i) {
    const u8 type = static_cast<u8>(msr.pat >> (8 * i));
    if (type > 7 || type == 2 || type == 3) return false;
  }
  return true;
}

bool msrs_are_possible(const MsrState& msr) {
  return is_canonical(msr.lstar) && is_canonical(msr.cstar) && is_canonical(msr.kernel_gs_base) &&
         is_canonical(msr.sysenter_eip) && is_canonical(msr.sysenter_esp) && (msr.tsc_aux & kHigh32) == 0 &&
         memory_types_are_possible(msr);
}

}  // namespace

Result<> check_state(const VcpuState& s, const CpuModel& model) {
  const struct {
    bool possible;
    std::string_view what;
  } rules[] = {
      {control_is_possible(s, model), "control registers"},
      {long_mode_is_possible(s, model), "EFER"},
      {flags_are_possible(s), "flags"},
      {privilege_is_possible(s), "privilege level"},
      {segments_are_possible(s), "segment registers"},
      {(s.dr6 & kHigh32) == 0 && (s.dr7 & kHigh32) == 0, "debug registers"},
      {vector_state_is_possible(s, model), "vector state"},
      {msrs_are_possible(s.msr), "model-specific registers"},
      {s.activity <= Activity::kShutdown, "activity state"},
  };
  for (const auto& rule : rules)
    if (!rule.possible)
      return fail(ErrorCode::kBadInput, "the saved state of a vCPU is damaged: its {} cannot be so",
                  rule.what);
  return {};
}

}  // namespace vellum
