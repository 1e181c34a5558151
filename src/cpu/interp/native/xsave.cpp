// XSAVE, XSAVEOPT, XSAVEC, XSAVES and XRSTOR, XRSTORS (SDM vol. 1 §13.7 to §13.12).
//
// Which components are in use (XINUSE) is found by looking: a component in its initial configuration is never
// in use, which the SDM allows. The modified optimization is not made: XSAVEOPT and XSAVES write every
// component in use. XSAVES and XRSTORS know no supervisor component (IA32_XSS is 0), and differ from XSAVEC
// and XRSTOR in privilege and in demanding the compacted form.
#include <algorithm>
#include <array>
#include <cstring>

#include "cpu/interp/native/memory.hpp"
#include "cpu/interp/native/mxcsr.hpp"
#include "cpu/interp/native/save_image.hpp"
#include "cpu/interp/native/x87.hpp"

namespace vellum::interp::native {
namespace {

using x86::xcr0::kAvx;
using x86::xcr0::kSse;
using x86::xcr0::kX87;

constexpr u64 kCompacted = bit(63);

struct Header {
  u64 xstate_bv = 0, xcomp_bv = 0;
  std::array<u64, 6> reserved{};
};
static_assert(sizeof(Header) == 64);

u64 requested(const VcpuState& s) {
  const u64 mask = (s.gpr[x86::kRdx] << 32) | (s.gpr[x86::kRax] & 0xffffffff);
  return mask & s.xcr0;
}

bool all_zero(const u8* bytes, unsigned size) {
  return std::all_of(bytes, bytes + size, [](u8 b) { return b == 0; });
}

u64 in_use(XsaveArea& x, ImageForm form) {
  u64 mask = 0;
  const bool x87_initial = x.fcw() == 0x37f && x.fsw() == 0 && x.ftw() == 0 && x.fop() == 0 && x.fip() == 0 &&
                           x.fdp() == 0 && all_zero(x.st(0), 128);
  if (!x87_initial) mask |= kX87;
  if (!all_zero(x.xmm(0), 16 * form.registers)) mask |= kSse;
  if (!all_zero(x.ymm_hi(0), 16 * form.registers)) mask |= kAvx;
  return mask;
}

bool write_piece(Vcpu& v, const Insn& i, u64 linear, const u8* image, unsigned offset, unsigned size) {
  return v.mmu.write_bytes(linear + offset, image + offset, size, seg_of(i));
}

// Writes the components in `components`, and MXCSR if asked.
bool write_components(Vcpu& v, const Insn& i, u64 linear, u64 components, bool mxcsr) {
  XsaveArea& x = v.state.xsave;
  const ImageForm form = form_of(v, i);
  std::array<u8, kXsaveArea> image;
  if ((components & kX87) != 0) {
    put_x87(x, form, image);
    if (!write_piece(v, i, linear, image.data(), 0, 24) || !write_piece(v, i, linear, image.data(), 32, 128))
      return false;
  }
  if (mxcsr) {
    put_mxcsr(x, image);
    if (!write_piece(v, i, linear, image.data(), 24, 8)) return false;
  }
  if ((components & kSse) != 0) {
    put_xmm(x, form, image);
    if (!write_piece(v, i, linear, image.data(), 160, 16 * form.registers)) return false;
  }
  if ((components & kAvx) != 0) {
    put_ymm(x, form, image);
    if (!write_piece(v, i, linear, image.data(), kYmmOffset, 16 * form.registers)) return false;
  }
  return true;
}

bool prepare(Vcpu& v, const Insn& i, Access access, unsigned size, u64& linear) {
  if (!linear_of(v, i, size, access, linear)) return false;
  if ((linear & 63) != 0) return v.raise_gp(0);
  return v.mmu.probe(linear, size, access, seg_of(i));
}

// The bytes that an instruction touches: the AVX component lies last.
unsigned area_size(u64 components) {
  return (components & kAvx) != 0 ? kXsaveArea : kYmmOffset;
}

template <bool kOptimized>
Flow xsave(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kXsave>(v.state)) return gate_fault(v, Gate::kXsave);
  const u64 rfbm = requested(v.state);
  u64 linear;
  if (!prepare(v, i, Access::kWrite, area_size(rfbm), linear)) return Flow::kFault;
  u64 xstate_bv;
  if (!v.mmu.read(linear + kHeaderOffset, xstate_bv, seg_of(i))) return Flow::kFault;
  const u64 used = in_use(v.state.xsave, form_of(v, i));
  xstate_bv = (xstate_bv & ~rfbm) | (used & rfbm);
  const u64 written = kOptimized ? rfbm & used : rfbm;
  if (!write_components(v, i, linear, written, (rfbm & (kSse | kAvx)) != 0)) return Flow::kFault;
  if (!v.mmu.write(linear + kHeaderOffset, xstate_bv, seg_of(i))) return Flow::kFault;
  return after_store(v);
}

template <bool kSupervisor>
Flow xsavec(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kXsave>(v.state)) return gate_fault(v, Gate::kXsave);
  if (kSupervisor && v.state.cpl != 0) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  const u64 rfbm = requested(v.state);
  u64 linear;
  if (!prepare(v, i, Access::kWrite, area_size(rfbm), linear)) return Flow::kFault;
  u64 used = in_use(v.state.xsave, form_of(v, i)) & rfbm;
  // MXCSR goes with the SSE component, whose use counts also when only MXCSR is not the initial one.
  if ((rfbm & kSse) != 0 && v.state.xsave.mxcsr() != kMxcsrDefault) used |= kSse;
  if (!write_components(v, i, linear, used, (used & kSse) != 0)) return Flow::kFault;
  if (!v.mmu.write(linear + kHeaderOffset, used, seg_of(i))) return Flow::kFault;
  if (!v.mmu.write(linear + kHeaderOffset + 8, rfbm | kCompacted, seg_of(i))) return Flow::kFault;
  return after_store(v);
}

// The header's checks; what they let through can be loaded without a fault but for MXCSR's.
bool header_valid(const Header& h, u64 xcr0, bool must_be_compacted) {
  const auto is_zero = [](u64 word) { return word == 0; };
  if (!std::all_of(h.reserved.begin() + 1, h.reserved.end(), is_zero) && (h.xcomp_bv & kCompacted) != 0)
    return false;
  if (h.reserved[0] != 0) return false;
  if ((h.xcomp_bv & kCompacted) != 0) {
    const u64 format = h.xcomp_bv & ~kCompacted;
    return (format & ~xcr0) == 0 && (h.xstate_bv & ~format) == 0;
  }
  return !must_be_compacted && h.xcomp_bv == 0 && (h.xstate_bv & ~xcr0) == 0;
}

void load_components(XsaveArea& x, ImageForm form, u64 rfbm, u64 xstate_bv, std::span<const u8> image) {
  if ((rfbm & kX87) != 0) {
    if ((xstate_bv & kX87) != 0) {
      get_x87(x, form, image);
    } else {
      initialize_x87(x);
      std::fill_n(x.st(0), 128, u8{0});
    }
  }
  if ((rfbm & kSse) != 0) {
    if ((xstate_bv & kSse) != 0) {
      get_xmm(x, form, image);
    } else {
      std::fill_n(x.xmm(0), 16 * form.registers, u8{0});
    }
  }
  if ((rfbm & kAvx) != 0) {
    if ((xstate_bv & kAvx) != 0) {
      get_ymm(x, form, image);
    } else {
      std::fill_n(x.ymm_hi(0), 16 * form.registers, u8{0});
    }
  }
}

template <bool kSupervisor>
Flow xrstor(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kXsave>(v.state)) return gate_fault(v, Gate::kXsave);
  VcpuState& s = v.state;
  if (kSupervisor && s.cpl != 0) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  const u64 rfbm = requested(s);
  u64 linear;
  if (!prepare(v, i, Access::kRead, kYmmOffset, linear)) return Flow::kFault;
  std::array<u8, kXsaveArea> image;
  if (!v.mmu.read_bytes(linear, image.data(), kYmmOffset, seg_of(i))) return Flow::kFault;
  Header header;
  std::memcpy(&header, image.data() + kHeaderOffset, sizeof header);
  const bool compacted = (header.xcomp_bv & kCompacted) != 0;
  bool valid = header_valid(header, s.xcr0, kSupervisor);
  const u64 loaded = rfbm & header.xstate_bv;
  if (valid && (loaded & kAvx) != 0 &&
      !v.mmu.read_bytes(linear + kYmmOffset, image.data() + kYmmOffset, kXsaveArea - kYmmOffset, seg_of(i)))
    return Flow::kFault;
  // The standard form loads MXCSR whenever SSE or AVX is asked for, whatever XSTATE_BV says; the compacted
  // form treats it as a part of SSE (SDM vol. 1 §13.8.1, §13.8.2).
  const bool load_mxcsr = compacted ? (loaded & kSse) != 0 : (rfbm & (kSse | kAvx)) != 0;
  valid = valid && (!load_mxcsr || get_mxcsr(s.xsave, image));
  if (!valid) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  if (compacted && (rfbm & kSse) != 0 && (loaded & kSse) == 0) s.xsave.mxcsr() = kMxcsrDefault;
  load_components(s.xsave, form_of(v, i), rfbm, header.xstate_bv, image);
  settle_ferr(v);
  return Flow::kNext;
}

Handler handler_of(ZydisMnemonic m) {
  switch (m) {
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
      return xsave<false>;
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
      return xsave<true>;
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
      return xsavec<false>;
    case ZYDIS_MNEMONIC_XSAVES:
    case ZYDIS_MNEMONIC_XSAVES64:
      return xsavec<true>;
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64:
      return xrstor<false>;
    case ZYDIS_MNEMONIC_XRSTORS:
    case ZYDIS_MNEMONIC_XRSTORS64:
      return xrstor<true>;
    default:
      return nullptr;
  }
}

}  // namespace

bool bind_xsave(const Request& r, Insn& out) {
  out.run = handler_of(r.mnemonic());
  if (out.run == nullptr) return false;
  r.memory(0, out);
  out.size = (r.decoded.info.attributes & ZYDIS_ATTRIB_HAS_REX) != 0 && r.decoded.info.raw.rex.W != 0 ? 8 : 4;
  return true;
}

}  // namespace vellum::interp::native
