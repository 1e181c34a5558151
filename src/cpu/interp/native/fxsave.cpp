// FXSAVE, FXRSTOR, LDMXCSR, STMXCSR (SDM vol. 2A, 2B).
#include <algorithm>
#include <array>
#include <cstring>

#include "cpu/interp/native/memory.hpp"
#include "cpu/interp/native/mxcsr.hpp"
#include "cpu/interp/native/save_image.hpp"
#include "cpu/interp/native/x87.hpp"

namespace vellum::interp::native {

ImageForm form_of(const Vcpu& v, const Insn& i) {
  return {.wide_pointers = i.size == 8, .registers = v.state.mode_64() ? 16u : 8u};
}

void put_x87(XsaveArea& x, ImageForm form, std::span<u8> image) {
  std::copy_n(x.legacy.begin(), 24, image.begin());
  image[5] = 0;
  if (!form.wide_pointers) {
    // FCS and FDS, as on every processor with CPUID.(7,0):EBX[13], are 0.
    std::fill_n(image.begin() + 12, 4, u8{0});
    std::fill_n(image.begin() + 20, 4, u8{0});
  }
  for (unsigned n = 0; n < 8; ++n) {
    std::copy_n(x.st(n), 10, image.begin() + 32 + 16 * n);
    std::fill_n(image.begin() + 32 + 16 * n + 10, 6, u8{0});
  }
}

void get_x87(XsaveArea& x, ImageForm form, std::span<const u8> image) {
  std::copy_n(image.begin(), 24, x.legacy.begin());
  x.legacy[5] = 0;
  x.fop() &= 0x7ff;
  if (!form.wide_pointers) {
    x.fip() &= 0xffffffff;
    x.fdp() &= 0xffffffff;
  }
  for (unsigned n = 0; n < 8; ++n) {
    std::copy_n(image.begin() + 32 + 16 * n, 10, x.st(n));
    std::fill_n(x.st(n) + 10, 6, u8{0});
  }
  recompute_pending(x);
}

void put_mxcsr(XsaveArea& x, std::span<u8> image) {
  const u32 mask = kMxcsrValid;
  std::memcpy(image.data() + 24, &x.mxcsr(), 4);
  std::memcpy(image.data() + 28, &mask, 4);
}

bool get_mxcsr(XsaveArea& x, std::span<const u8> image) {
  u32 value;
  std::memcpy(&value, image.data() + 24, 4);
  if ((value & ~kMxcsrValid) != 0) return false;
  x.mxcsr() = value;
  return true;
}

void put_xmm(XsaveArea& x, ImageForm form, std::span<u8> image) {
  std::copy_n(x.xmm(0), 16 * form.registers, image.begin() + 160);
}
void get_xmm(XsaveArea& x, ImageForm form, std::span<const u8> image) {
  std::copy_n(image.begin() + 160, 16 * form.registers, x.xmm(0));
}
void put_ymm(XsaveArea& x, ImageForm form, std::span<u8> image) {
  std::copy_n(x.ymm_hi(0), 16 * form.registers, image.begin() + kYmmOffset);
}
void get_ymm(XsaveArea& x, ImageForm form, std::span<const u8> image) {
  std::copy_n(image.begin() + kYmmOffset, 16 * form.registers, x.ymm_hi(0));
}

namespace {

// Without CR4.OSFXSR the SSE part is neither saved nor restored (it may or may not be, says the SDM: vol. 3A
// §2.5), nor by AMD's fast form in ring 0 (EFER.FFXSR; MXCSR is).
struct Parts {
  bool mxcsr, xmm;
};
Parts parts_of(const VcpuState& s) {
  const bool sse = (s.cr4 & x86::cr4::kOsfxsr) != 0;
  const bool fast = (s.msr.efer & x86::efer::kFfxsr) != 0 && s.cpl == 0 && s.mode_64();
  return {.mxcsr = sse, .xmm = sse && !fast};
}

Flow fxsave(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kFxsave>(v.state)) return gate_fault(v, Gate::kFxsave);
  u64 linear;
  if (!aligned_linear(v, i, kLegacyArea, Access::kWrite, linear)) return Flow::kFault;
  if (!v.mmu.probe(linear, kLegacyArea, Access::kWrite, seg_of(i))) return Flow::kFault;
  // What is not written (reserved bytes, the upper registers outside 64-bit mode, software's own bytes from
  // 464 on) keeps its contents.
  const ImageForm form = form_of(v, i);
  const Parts parts = parts_of(v.state);
  std::array<u8, kLegacyArea> image;
  put_x87(v.state.xsave, form, image);
  if (parts.mxcsr) put_mxcsr(v.state.xsave, image);
  if (parts.xmm) put_xmm(v.state.xsave, form, image);
  const unsigned end = parts.xmm ? 160 + 16 * form.registers : 160;
  const bool done = parts.mxcsr ? v.mmu.write_bytes(linear, image.data(), end, seg_of(i))
                                : v.mmu.write_bytes(linear, image.data(), 24, seg_of(i)) &&
                                      v.mmu.write_bytes(linear + 32, image.data() + 32, end - 32, seg_of(i));
  return done ? after_store(v) : Flow::kFault;
}

Flow fxrstor(Vcpu& v, const Insn& i) {
  if (!gate_open<Gate::kFxsave>(v.state)) return gate_fault(v, Gate::kFxsave);
  u64 linear;
  if (!aligned_linear(v, i, kLegacyArea, Access::kRead, linear)) return Flow::kFault;
  std::array<u8, kLegacyArea> image;
  if (!v.mmu.read_bytes(linear, image.data(), kLegacyArea, seg_of(i))) return Flow::kFault;
  const ImageForm form = form_of(v, i);
  const Parts parts = parts_of(v.state);
  if (parts.mxcsr && !get_mxcsr(v.state.xsave, image)) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  get_x87(v.state.xsave, form, image);
  if (parts.xmm) get_xmm(v.state.xsave, form, image);
  settle_ferr(v);
  return Flow::kNext;
}

template <Gate kGate>
Flow load_mxcsr(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) return gate_fault(v, kGate);
  u32 value;
  if (!load<u32>(v, i, value)) return Flow::kFault;
  if ((value & ~kMxcsrValid) != 0) {
    v.raise_gp(0);
    return Flow::kFault;
  }
  v.state.xsave.mxcsr() = value;
  return Flow::kNext;
}

template <Gate kGate>
Flow store_mxcsr(Vcpu& v, const Insn& i) {
  if (!gate_open<kGate>(v.state)) return gate_fault(v, kGate);
  return store<u32>(v, i, v.state.xsave.mxcsr()) ? after_store(v) : Flow::kFault;
}

}  // namespace

bool bind_fxsave(const Request& r, Insn& out) {
  switch (r.mnemonic()) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
      out.run = fxsave;
      break;
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
      out.run = fxrstor;
      break;
    default:
      return false;
  }
  r.memory(0, out);
  out.aux = 15;
  out.size = r.mnemonic() == ZYDIS_MNEMONIC_FXSAVE64 || r.mnemonic() == ZYDIS_MNEMONIC_FXRSTOR64 ? 8 : 4;
  return true;
}

bool bind_mxcsr(const Request& r, Insn& out) {
  switch (r.mnemonic()) {
    case ZYDIS_MNEMONIC_LDMXCSR:
      out.run = load_mxcsr<Gate::kSse>;
      break;
    case ZYDIS_MNEMONIC_STMXCSR:
      out.run = store_mxcsr<Gate::kSse>;
      break;
    case ZYDIS_MNEMONIC_VLDMXCSR:
      out.run = load_mxcsr<Gate::kAvx>;
      break;
    case ZYDIS_MNEMONIC_VSTMXCSR:
      out.run = store_mxcsr<Gate::kAvx>;
      break;
    default:
      return false;
  }
  r.memory(0, out);
  return true;
}

bool bind_state(const Request& r, Insn& out) {
  return bind_mxcsr(r, out) || bind_fxsave(r, out) || bind_xsave(r, out);
}

}  // namespace vellum::interp::native
