// The one table of model-specific registers (SDM vol. 4; AMD64 APM vol. 2 for AMD's). A row says which
// numbers it covers, on which CPU models they exist, and what reading and writing does; everything else is
// #GP(0).
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <optional>

#include "cpu/system/control.hpp"
#include "cpu/system/msr_table.hpp"

namespace vellum {
namespace {

using namespace x86;
using x86::msr::kApicBase;

// --- Time
// ------------------------------------------------------------------------------------------------------------

/// The board's deadline counts the machine's TSC; the vCPU's counts its own (vol. 3A §10.5.4.1). 0 is
/// "disarmed" in both.
bool read_deadline(Vcpu& v, u32 index, u64& value) {
  if (!v.board.read_apic_msr(index, value)) return v.raise_gp();
  if (value != 0) value += v.state.msr.tsc_adjust;
  return true;
}

bool write_deadline(Vcpu& v, u32 index, u64 value) {
  if (value != 0) {
    const u64 now = v.clock.tsc();
    const u64 own_now = now + v.state.msr.tsc_adjust;
    // Unsigned: a deadline below this vCPU's TSC has passed, one of all ones never comes.
    if (value <= own_now) {
      value = std::max<u64>(now, 1);
    } else if (value - own_now > ~u64{0} - now) {
      value = ~u64{0};
    } else {
      value = now + (value - own_now);
    }
  }
  return v.board.write_apic_msr(index, value) || v.raise_gp();
}

/// Moves this vCPU's TSC; an armed deadline stays at its value, so its distance changes.
bool set_tsc_adjust(Vcpu& v, u64 adjust) {
  u64 deadline = 0;
  const bool armed = v.model.has(Feature::kTscDeadline) &&
                     v.board.read_apic_msr(msr::kTscDeadline, deadline) && deadline != 0;
  if (armed) deadline += v.state.msr.tsc_adjust;
  v.state.msr.tsc_adjust = adjust;
  return !armed || write_deadline(v, msr::kTscDeadline, deadline);
}

bool read_tsc_msr(Vcpu& v, u32, u64& value) {
  value = read_tsc(v);
  return true;
}
/// Adds the same amount to TSC_ADJUST (vol. 3B §17.17.3).
bool write_tsc_msr(Vcpu& v, u32, u64 value) {
  return set_tsc_adjust(v, value - v.clock.tsc());
}
bool write_tsc_adjust(Vcpu& v, u32, u64 value) {
  return set_tsc_adjust(v, value);
}

// --- Storage
// -----------------------------------------------------------------------------------------------------------

template <u64 MsrState::*field>
bool read_field(Vcpu& v, u32, u64& value) {
  value = v.state.msr.*field;
  return true;
}
template <u64 MsrState::*field>
bool write_canonical(Vcpu& v, u32, u64 value) {
  if (!is_canonical(value)) return v.raise_gp();
  v.state.msr.*field = value;
  return true;
}
/// Any bit of `mask` may be set, others are reserved.
template <u64 MsrState::*field, u64 mask>
bool write_masked(Vcpu& v, u32, u64 value) {
  if ((value & ~mask) != 0) return v.raise_gp();
  v.state.msr.*field = value;
  return true;
}
template <u64 constant>
bool read_constant(Vcpu&, u32, u64& value) {
  value = constant;
  return true;
}
bool write_ignored(Vcpu&, u32, u64) {
  return true;
}

template <Seg seg>
bool read_segment_base(Vcpu& v, u32, u64& value) {
  value = v.state.segment(seg).base;
  return true;
}
template <Seg seg>
bool write_segment_base(Vcpu& v, u32, u64 value) {
  if (!is_canonical(value)) return v.raise_gp();
  v.state.segment(seg).base = value;
  return true;
}

bool write_sysenter_cs(Vcpu& v, u32, u64 value) {
  v.state.msr.sysenter_cs = value & 0xffffffff;  // 31..16 are stored, 63..32 not used
  return true;
}

// --- Modes
// -------------------------------------------------------------------------------------------------------------

bool write_efer(Vcpu& v, u32, u64 value) {
  VcpuState& s = v.state;
  if ((value & ~v.model.efer_valid_bits()) != 0) return v.raise_gp();
  const u64 changed = s.msr.efer ^ value;
  if ((changed & efer::kLme) != 0 && (s.cr0 & cr0::kPg) != 0) return v.raise_gp();
  s.msr.efer = (value & ~efer::kLma) | (s.msr.efer & efer::kLma);
  if ((changed & efer::kNxe) != 0) v.mmu.flush_all();
  v.mmu.update_context();
  return true;
}

bool read_misc_enable(Vcpu& v, u32, u64& value) {
  value = v.state.msr.misc_enable | msr::misc_enable::kBtsUnavailable | msr::misc_enable::kPebsUnavailable;
  return true;
}
bool write_misc_enable(Vcpu& v, u32, u64 value) {
  constexpr u64 kReadOnly = msr::misc_enable::kBtsUnavailable | msr::misc_enable::kPebsUnavailable;
  constexpr u64 kWritable = msr::misc_enable::kFastString | msr::misc_enable::kLimitCpuid;
  if ((value & ~(kReadOnly | kWritable)) != 0) return v.raise_gp();
  v.state.msr.misc_enable = value & kWritable;
  return true;
}

bool write_pred_cmd(Vcpu& v, u32, u64 value) {
  return (value & ~u64{1}) == 0 || v.raise_gp();  // IBPB: there is no predictor of the guest's own to flush
}

// --- The board's
// ---------------------------------------------------------------------------------------------------------

bool read_board(Vcpu& v, u32 index, u64& value) {
  return v.board.read_apic_msr(index, value) || v.raise_gp();
}
bool write_board(Vcpu& v, u32 index, u64 value) {
  return v.board.write_apic_msr(index, value) || v.raise_gp();
}

bool write_apic_base(Vcpu& v, u32 index, u64 value) {
  if (value >> v.model.physical_bits() != 0) return v.raise_gp();
  if ((value & msr::apic_base::kExtended) != 0 && !v.model.has(Feature::kX2apic)) return v.raise_gp();
  if (!write_board(v, index, value)) return false;
  v.mmu.flush_all();  // the xAPIC page moved, came or went under cached translations
  return true;
}

// --- Identity
// ------------------------------------------------------------------------------------------------------------

bool read_arch_capabilities(Vcpu& v, u32, u64& value) {
  value = v.model.arch_capabilities();
  return true;
}
/// Bits 15..8: the TSC's ratio to a 100 MHz bus.
bool read_platform_info(Vcpu& v, u32, u64& value) {
  value = std::min<u64>((v.clock.tsc_hz() + 50'000'000) / 100'000'000, 0xff) << 8;
  return true;
}
constexpr u64 kMicrocodeRevision = 1;
bool read_microcode_revision(Vcpu& v, u32, u64& value) {
  value = v.model.is_amd() ? kMicrocodeRevision << 24 : kMicrocodeRevision << 32;
  return true;
}

using enum MsrVendor;
constexpr auto kAlways = std::nullopt;

// clang-format off
constexpr std::array kTable{
    MsrRow{msr::kTsc, msr::kTsc, "IA32_TIME_STAMP_COUNTER", Feature::kTsc, kAny, read_tsc_msr, write_tsc_msr},
    MsrRow{msr::kPlatformId, msr::kPlatformId, "IA32_PLATFORM_ID", kAlways, kIntel, read_constant<0>, nullptr},
    MsrRow{kApicBase, kApicBase, "IA32_APIC_BASE", Feature::kApic, kAny, read_board, write_apic_base},
    MsrRow{msr::kTscAdjust, msr::kTscAdjust, "IA32_TSC_ADJUST", Feature::kTscAdjust, kAny,
           read_field<&MsrState::tsc_adjust>, write_tsc_adjust},
    MsrRow{msr::kSpecCtrl, msr::kSpecCtrl, "IA32_SPEC_CTRL", Feature::kSpecCtrl, kAny,
           read_field<&MsrState::spec_ctrl>,
           write_masked<&MsrState::spec_ctrl,
                        msr::spec_ctrl::kIbrs | msr::spec_ctrl::kStibp | msr::spec_ctrl::kBhiDisS>},
    MsrRow{msr::kPredCmd, msr::kPredCmd, "IA32_PRED_CMD", Feature::kSpecCtrl, kAny, nullptr, write_pred_cmd},
    MsrRow{msr::kBiosSignId, msr::kBiosSignId, "IA32_BIOS_SIGN_ID", kAlways, kAny, read_microcode_revision,
           write_ignored},
    MsrRow{msr::kPlatformInfo, msr::kPlatformInfo, "MSR_PLATFORM_INFO", kAlways, kIntel, read_platform_info, nullptr},
    MsrRow{msr::kMtrrCap, msr::kMtrrCap, "IA32_MTRRCAP", Feature::kMtrr, kAny, read_mtrr, nullptr},
    MsrRow{msr::kArchCapabilities, msr::kArchCapabilities, "IA32_ARCH_CAPABILITIES", Feature::kArchCapabilities,
           kAny, read_arch_capabilities, nullptr},
    MsrRow{msr::kSysenterCs, msr::kSysenterCs, "IA32_SYSENTER_CS", Feature::kSep, kAny,
           read_field<&MsrState::sysenter_cs>, write_sysenter_cs},
    MsrRow{msr::kSysenterEsp, msr::kSysenterEsp, "IA32_SYSENTER_ESP", Feature::kSep, kAny,
           read_field<&MsrState::sysenter_esp>, write_canonical<&MsrState::sysenter_esp>},
    MsrRow{msr::kSysenterEip, msr::kSysenterEip, "IA32_SYSENTER_EIP", Feature::kSep, kAny,
           read_field<&MsrState::sysenter_eip>, write_canonical<&MsrState::sysenter_eip>},
    // Machine-check architecture without banks: nothing here reports hardware errors.
    MsrRow{msr::kMcgCap, msr::kMcgCap, "IA32_MCG_CAP", Feature::kMca, kAny, read_constant<0>, nullptr},
    MsrRow{msr::kMcgStatus, msr::kMcgStatus, "IA32_MCG_STATUS", Feature::kMca, kAny,
           read_field<&MsrState::mcg_status>, write_masked<&MsrState::mcg_status, 7>},
    MsrRow{msr::kMiscEnable, msr::kMiscEnable, "IA32_MISC_ENABLE", kAlways, kIntel, read_misc_enable,
           write_misc_enable},
    MsrRow{msr::kDebugctl, msr::kDebugctl, "IA32_DEBUGCTL", kAlways, kAny, read_field<&MsrState::debugctl>,
           write_masked<&MsrState::debugctl, msr::debugctl::kBtf>},
    MsrRow{msr::kMtrrPhysBase0, msr::kMtrrPhysMask7, "IA32_MTRR_PHYSBASE/MASK", Feature::kMtrr, kAny, read_mtrr,
           write_mtrr},
    MsrRow{msr::kMtrrFix64k00000, msr::kMtrrFix64k00000, "IA32_MTRR_FIX64K", Feature::kMtrr, kAny, read_mtrr,
           write_mtrr},
    MsrRow{msr::kMtrrFix16k80000, msr::kMtrrFix16kA0000, "IA32_MTRR_FIX16K", Feature::kMtrr, kAny, read_mtrr,
           write_mtrr},
    MsrRow{msr::kMtrrFix4kC0000, msr::kMtrrFix4kF8000, "IA32_MTRR_FIX4K", Feature::kMtrr, kAny, read_mtrr,
           write_mtrr},
    MsrRow{msr::kPat, msr::kPat, "IA32_PAT", Feature::kPat, kAny, read_field<&MsrState::pat>, write_pat},
    MsrRow{msr::kMtrrDefType, msr::kMtrrDefType, "IA32_MTRR_DEF_TYPE", Feature::kMtrr, kAny, read_mtrr, write_mtrr},
    MsrRow{msr::kTscDeadline, msr::kTscDeadline, "IA32_TSC_DEADLINE", Feature::kTscDeadline, kAny, read_deadline,
           write_deadline},
    MsrRow{msr::kX2apicFirst, msr::kX2apicLast, "x2APIC", Feature::kX2apic, kAny, read_board, write_board},
    MsrRow{msr::kXss, msr::kXss, "IA32_XSS", Feature::kXsaves, kAny, read_field<&MsrState::xss>,
           write_masked<&MsrState::xss, 0>},
    MsrRow{msr::kEfer, msr::kEfer, "IA32_EFER", kAlways, kAny, read_field<&MsrState::efer>, write_efer},
    MsrRow{msr::kStar, msr::kStar, "IA32_STAR", Feature::kSyscall, kAny, read_field<&MsrState::star>,
           write_masked<&MsrState::star, ~u64{0}>},
    MsrRow{msr::kLstar, msr::kLstar, "IA32_LSTAR", Feature::kLm, kAny, read_field<&MsrState::lstar>,
           write_canonical<&MsrState::lstar>},
    MsrRow{msr::kCstar, msr::kCstar, "IA32_CSTAR", Feature::kLm, kAny, read_field<&MsrState::cstar>,
           write_canonical<&MsrState::cstar>},
    MsrRow{msr::kSfmask, msr::kSfmask, "IA32_FMASK", Feature::kLm, kAny, read_field<&MsrState::sfmask>,
           write_masked<&MsrState::sfmask, 0xffffffff>},
    MsrRow{msr::kFsBase, msr::kFsBase, "IA32_FS_BASE", Feature::kLm, kAny, read_segment_base<Seg::kFs>,
           write_segment_base<Seg::kFs>},
    MsrRow{msr::kGsBase, msr::kGsBase, "IA32_GS_BASE", Feature::kLm, kAny, read_segment_base<Seg::kGs>,
           write_segment_base<Seg::kGs>},
    MsrRow{msr::kKernelGsBase, msr::kKernelGsBase, "IA32_KERNEL_GS_BASE", Feature::kLm, kAny,
           read_field<&MsrState::kernel_gs_base>, write_canonical<&MsrState::kernel_gs_base>},
    MsrRow{msr::kTscAux, msr::kTscAux, "IA32_TSC_AUX", Feature::kRdtscp, kAny, read_field<&MsrState::tsc_aux>,
           write_masked<&MsrState::tsc_aux, 0xffffffff>},
    // What an AMD kernel reads without a safety net. HWCR bit 24: the TSC counts at the P0 rate. DE_CFG bit 1: LFENCE
    // serialises.
    MsrRow{msr::kAmdSyscfg, msr::kAmdSyscfg, "SYSCFG", kAlways, kAmd, read_constant<0>, write_ignored},
    MsrRow{msr::kAmdHwcr, msr::kAmdHwcr, "HWCR", kAlways, kAmd, read_constant<bit(24)>, write_ignored},
    MsrRow{msr::kAmdNbCfg, msr::kAmdNbCfg, "NB_CFG", kAlways, kAmd, read_constant<0>, write_ignored},
    MsrRow{msr::kAmdDeCfg, msr::kAmdDeCfg, "DE_CFG", kAlways, kAmd, read_constant<bit(1)>, write_ignored},
};
// clang-format on

constexpr bool ascending() {
  for (std::size_t i = 0; i + 1 < kTable.size(); ++i)
    if (kTable[i].last >= kTable[i + 1].first) return false;
  return true;
}
static_assert(ascending(), "kTable is sorted, its ranges are disjoint");

/// The row of an MSR that this CPU model has, or nullptr.
const MsrRow* find(const Vcpu& v, u32 index) {
  const auto row = std::lower_bound(kTable.begin(), kTable.end(), index,
                                    [](const MsrRow& r, u32 wanted) { return r.last < wanted; });
  if (row == kTable.end() || index < row->first) return nullptr;
  if (row->gate && !v.model.has(*row->gate)) return nullptr;
  if (row->vendor != kAny && (row->vendor == kAmd) != v.model.is_amd()) return nullptr;
  return &*row;
}

}  // namespace

std::span<const MsrRow> msr_table() {
  return kTable;
}

u64 read_tsc(const Vcpu& v) {
  return v.clock.tsc() + v.state.msr.tsc_adjust;
}

bool read_msr(Vcpu& v, u32 index, u64& value) {
  if (v.state.cpl != 0) return v.raise_gp();
  const MsrRow* row = find(v, index);
  if (row == nullptr || row->read == nullptr) {
    v.unknown_msrs.count_read(index);
    spdlog::debug("vCPU {}: RDMSR {:#x} at {:#x}: no such MSR", v.index, index, v.state.rip);
    return v.raise_gp();
  }
  return row->read(v, index, value);
}

bool write_msr(Vcpu& v, u32 index, u64 value) {
  if (v.state.cpl != 0) return v.raise_gp();
  const MsrRow* row = find(v, index);
  if (row == nullptr || row->write == nullptr) {
    v.unknown_msrs.count_write(index);
    spdlog::debug("vCPU {}: WRMSR {:#x} = {:#x} at {:#x}: no such MSR", v.index, index, value, v.state.rip);
    return v.raise_gp();
  }
  return row->write(v, index, value);
}

}  // namespace vellum
