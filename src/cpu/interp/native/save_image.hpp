// The memory images of FXSAVE and XSAVE, in pieces (SDM vol. 1 §10.5, §13.4).
//
//   0    FCW FSW FTW FOP FIP FDP                x87
//   24   MXCSR, MXCSR_MASK                      SSE and AVX
//   32   ST0-7                                  x87
//   160  XMM0-15 (0-7 outside 64-bit mode)      SSE
//   512  XSTATE_BV, XCOMP_BV, reserved          XSAVE only
//   576  upper halves of YMM0-15 (0-7)          AVX
#pragma once

#include <span>

#include "cpu/interp/native/families.hpp"

namespace vellum::interp::native {

inline constexpr unsigned kLegacyArea = 512;
inline constexpr unsigned kHeaderOffset = 512;
inline constexpr unsigned kYmmOffset = 576;
inline constexpr unsigned kXsaveArea = 832;

/// How an image's fields depend on the instruction and mode.
struct ImageForm {
  bool wide_pointers;  ///< REX.W: 64-bit FIP and FDP; else 32 bits and a selector (which is 0 here)
  unsigned registers;  ///< vector registers: 16 in 64-bit mode, else 8
};

// Each copies one part between the state and `image`, which starts at the area's first byte.
void put_x87(XsaveArea& x, ImageForm form, std::span<u8> image);
void get_x87(XsaveArea& x, ImageForm form, std::span<const u8> image);
void put_mxcsr(XsaveArea& x, std::span<u8> image);
void put_xmm(XsaveArea& x, ImageForm form, std::span<u8> image);
void get_xmm(XsaveArea& x, ImageForm form, std::span<const u8> image);
void put_ymm(XsaveArea& x, ImageForm form, std::span<u8> image);
void get_ymm(XsaveArea& x, ImageForm form, std::span<const u8> image);
/// Sets MXCSR from an image; false: it has reserved bits, and nothing changed.
bool get_mxcsr(XsaveArea& x, std::span<const u8> image);

ImageForm form_of(const Vcpu& v, const Insn& i);

bool bind_fxsave(const Request& request, Insn& out);
bool bind_xsave(const Request& request, Insn& out);
bool bind_mxcsr(const Request& request, Insn& out);

}  // namespace vellum::interp::native
