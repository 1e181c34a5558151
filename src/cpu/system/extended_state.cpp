// XCR0 (SDM vol. 1 §13.3; vol. 2, XSETBV, XGETBV) and the instructions that invalidate translations (vol. 2,
// INVLPG, INVPCID; vol. 3A §4.10.4.1).
#include <algorithm>

#include "cpu/system/control.hpp"

namespace vellum {
namespace {

using namespace x86;

template <class Range>
bool all_zero(const Range& bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](u8 byte) { return byte == 0; });
}

/// XINUSE: which components are not in their initial configuration (vol. 1 §13.6).
u64 components_in_use(const XsaveArea& area) {
  XsaveArea copy = area;
  u64 in_use = 0;
  const std::span<const u8> legacy(area.legacy);
  const bool x87_initial =
      copy.fcw() == 0x37f && all_zero(legacy.subspan(2, 22)) && all_zero(legacy.subspan(32, 128));
  if (!x87_initial) in_use |= xcr0::kX87;
  if (!all_zero(legacy.subspan(160, 256))) in_use |= xcr0::kSse;
  if (!all_zero(area.ymm_high)) in_use |= xcr0::kAvx;
  return in_use;
}

}  // namespace

bool set_xcr(Vcpu& v, u32 index, u64 value) {
  if ((v.state.cr4 & cr4::kOsxsave) == 0) return v.raise_ud();
  if (v.state.cpl != 0 || index != 0) return v.raise_gp();
  if ((value & ~v.model.xcr0_valid_bits()) != 0 || (value & xcr0::kX87) == 0) return v.raise_gp();
  if ((value & xcr0::kAvx) != 0 && (value & xcr0::kSse) == 0) return v.raise_gp();
  v.state.xcr0 = value;
  return true;
}

bool get_xcr(Vcpu& v, u32 index, u64& value) {
  if ((v.state.cr4 & cr4::kOsxsave) == 0) return v.raise_ud();
  if (index == 0) {
    value = v.state.xcr0;
  } else if (index == 1 && v.model.has(Feature::kXgetbv1)) {
    value = v.state.xcr0 & components_in_use(v.state.xsave);
  } else {
    return v.raise_gp();
  }
  return true;
}

bool invlpg(Vcpu& v, u64 linear) {
  if (v.state.cpl != 0) return v.raise_gp();
  if (is_canonical(linear)) v.mmu.flush_page(linear);  // otherwise a NOP
  return true;
}

bool invpcid(Vcpu& v, u64 type, u64 descriptor_low, u64 descriptor_high) {
  enum : u64 { kAddress, kContext, kAllWithGlobal, kAllWithoutGlobal };
  if (!v.model.has(Feature::kInvpcid)) return v.raise_ud();
  if (v.state.cpl != 0 || type > kAllWithoutGlobal) return v.raise_gp();
  if (descriptor_low >> 12 != 0) return v.raise_gp();
  const u16 pcid = static_cast<u16>(descriptor_low);
  if (type <= kContext && pcid != 0 && (v.state.cr4 & cr4::kPcide) == 0) return v.raise_gp();
  switch (type) {
    case kAddress:
      if (!is_canonical(descriptor_high)) return v.raise_gp();
      v.mmu.flush_pcid_page(pcid, descriptor_high);
      break;
    case kContext:
      v.mmu.flush_pcid(pcid);
      break;
    case kAllWithGlobal:
      v.mmu.flush_all();
      break;
    default:
      v.mmu.flush_all_non_global();
      break;
  }
  return true;
}

}  // namespace vellum
