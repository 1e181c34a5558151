// MTRRs and the PAT (SDM vol. 3A §11.11, §11.12). Stored and checked as the processor does; they change
// nothing, for the memory behind them is the host's.
#include <algorithm>

#include "cpu/system/msr_table.hpp"

namespace vellum {
namespace {

using namespace x86;

constexpr u64 kVariableCount = 8;
constexpr u64 kCapabilities = kVariableCount | bit(8) | bit(10);  // fixed ranges, WC

constexpr u64 kDefTypeEnable = bit(11), kDefTypeFixedEnable = bit(10);
constexpr u64 kMaskValid = bit(11);

/// The place of a fixed-range register in MsrState::mtrr_fixed.
constexpr std::size_t fixed_slot(u32 index) {
  if (index == msr::kMtrrFix64k00000) return 0;
  if (index <= msr::kMtrrFix16kA0000) return 1 + (index - msr::kMtrrFix16k80000);
  return 3 + (index - msr::kMtrrFix4kC0000);
}
static_assert(fixed_slot(msr::kMtrrFix4kF8000) == 10);

/// Every byte of `value` is a type that `valid` accepts.
template <class Predicate>
bool all_bytes(u64 value, Predicate valid) {
  for (unsigned i = 0; i < 64; i += 8)
    if (!valid((value >> i) & 0xff)) return false;
  return true;
}

bool valid_variable(const Vcpu& v, u32 index, u64 value) {
  if (value >> v.model.physical_bits() != 0) return false;
  const bool is_mask = (index & 1) != 0;
  if (is_mask) return (value & 0xfff & ~kMaskValid) == 0;
  return (value & 0xf00) == 0 && msr::is_mtrr_type(value & 0xff);
}

bool is_variable(u32 index) {
  return index >= msr::kMtrrPhysBase0 && index <= msr::kMtrrPhysMask7;
}

}  // namespace

bool read_mtrr(Vcpu& v, u32 index, u64& value) {
  const MsrState& m = v.state.msr;
  if (index == msr::kMtrrCap)
    value = kCapabilities;
  else if (index == msr::kMtrrDefType)
    value = m.mtrr_def_type;
  else if (is_variable(index))
    value = m.mtrr_variable[index - msr::kMtrrPhysBase0];
  else
    value = m.mtrr_fixed[fixed_slot(index)];
  return true;
}

bool write_mtrr(Vcpu& v, u32 index, u64 value) {
  MsrState& m = v.state.msr;
  if (index == msr::kMtrrDefType) {
    if ((value & ~(u64{0xff} | kDefTypeEnable | kDefTypeFixedEnable)) != 0 ||
        !msr::is_mtrr_type(value & 0xff))
      return v.raise_gp();
    m.mtrr_def_type = value;
  } else if (is_variable(index)) {
    if (!valid_variable(v, index, value)) return v.raise_gp();
    m.mtrr_variable[index - msr::kMtrrPhysBase0] = value;
  } else {
    if (!all_bytes(value, msr::is_mtrr_type)) return v.raise_gp();
    m.mtrr_fixed[fixed_slot(index)] = value;
  }
  return true;
}

bool write_pat(Vcpu& v, u32, u64 value) {
  if (!all_bytes(value, msr::is_pat_type)) return v.raise_gp();
  v.state.msr.pat = value;
  return true;
}

}  // namespace vellum
