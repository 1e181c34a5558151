#include <algorithm>
#include <cstring>

#include "cpu/interp/native/x87.hpp"

namespace vellum::interp::native {
namespace {

// FCW bits that exist: exception masks, PC, RC, infinity control; bit 6 reads as 1.
constexpr u16 kFcwValid = 0x1f3f;
constexpr u16 kFcwFixed = 0x40;

const u16& word(const XsaveArea& x, unsigned offset) {
  return *reinterpret_cast<const u16*>(x.legacy.data() + offset);
}
u64 quad(const XsaveArea& x, unsigned offset) {
  u64 value;
  std::memcpy(&value, x.legacy.data() + offset, 8);
  return value;
}

enum Tag : unsigned { kValid = 0, kZero = 1, kSpecial = 2, kEmpty = 3 };

Tag tag_of(const u8* st) {
  u64 significand;
  u16 exponent;
  std::memcpy(&significand, st, 8);
  std::memcpy(&exponent, st + 8, 2);
  exponent &= 0x7fff;
  if (exponent == 0x7fff) return kSpecial;
  if (exponent == 0) return significand == 0 ? kZero : kSpecial;
  return (significand >> 63) != 0 ? kValid : kSpecial;
}

template <class T>
void put(std::span<u8> image, unsigned index, T value) {
  std::memcpy(image.data() + index * sizeof(T), &value, sizeof(T));
}
template <class T>
T get(std::span<const u8> image, unsigned index) {
  T value;
  std::memcpy(&value, image.data() + index * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

void set_top(XsaveArea& x, unsigned top) {
  const unsigned before = (x.fsw() >> 11) & 7u;
  std::rotate(x.st(0), x.st((top - before) & 7), x.st(0) + 128);
  x.fsw() = static_cast<u16>((x.fsw() & ~0x3800) | top << 11);
}

void initialize_x87(XsaveArea& x) {
  set_top(x, 0);
  x.fcw() = 0x37f;
  x.fsw() = 0;
  x.ftw() = 0;
  x.fop() = 0;
  x.fip() = 0;
  x.fdp() = 0;
}

void recompute_pending(XsaveArea& x) {
  x.fcw() = static_cast<u16>((x.fcw() & kFcwValid) | kFcwFixed);
  const bool pending = (x.fsw() & ~x.fcw() & 0x3f) != 0;
  x.fsw() = static_cast<u16>((x.fsw() & 0x7f7f) | (pending ? 0x8080 : 0));
}

u64 instruction_pointer(const Vcpu& v, const Insn& i) {
  const VcpuState& s = v.state;
  const u64 start = s.rip - i.length;
  if (s.mode_64()) return start;
  const u64 offset = start & (s.segment(x86::Seg::kCs).big() ? 0xffffffff : 0xffff);
  return s.real_mode() || s.virtual_8086() ? s.segment(x86::Seg::kCs).base + offset : offset;
}

u64 data_pointer(const Vcpu& v, const Insn& i, u64 offset) {
  const VcpuState& s = v.state;
  if (s.mode_64()) return offset;
  return s.real_mode() || s.virtual_8086() ? s.segment(static_cast<x86::Seg>(i.seg)).base + offset : offset;
}

u16 full_tag_word(const XsaveArea& x) {
  const unsigned top = (word(x, 2) >> 11) & 7u;
  unsigned tags = 0;
  for (unsigned physical = 0; physical < 8; ++physical) {
    const bool used = (x.legacy[4] >> physical & 1) != 0;
    const unsigned tag = used ? tag_of(x.legacy.data() + 32 + 16 * ((physical - top) & 7)) : kEmpty;
    tags |= tag << (2 * physical);
  }
  return static_cast<u16>(tags);
}

void write_environment(const XsaveArea& x, EnvironmentFormat format, std::span<u8> image) {
  const u16 fcw = word(x, 0), fsw = word(x, 2), ftw = full_tag_word(x), fop = word(x, 6) & 0x7ff;
  const u32 fip = static_cast<u32>(quad(x, 8)), fdp = static_cast<u32>(quad(x, 16));
  if (format.wide) {
    // The upper halves of 16-bit fields are written as ones.
    put<u32>(image, 0, 0xffff0000 | fcw);
    put<u32>(image, 1, 0xffff0000 | fsw);
    put<u32>(image, 2, 0xffff0000 | ftw);
    if (format.real) {
      put<u32>(image, 3, 0xffff0000 | (fip & 0xffff));
      put<u32>(image, 4, (fip >> 16) << 12 | fop);
      put<u32>(image, 5, 0xffff0000 | (fdp & 0xffff));
      put<u32>(image, 6, (fdp >> 16) << 12);
    } else {
      put<u32>(image, 3, fip);
      put<u32>(image, 4, u32{fop} << 16);  // FCS is 0
      put<u32>(image, 5, fdp);
      put<u32>(image, 6, 0xffff0000);  // FDS is 0
    }
    return;
  }
  put<u16>(image, 0, fcw);
  put<u16>(image, 1, fsw);
  put<u16>(image, 2, ftw);
  put<u16>(image, 3, static_cast<u16>(fip));
  put<u16>(image, 4, format.real ? static_cast<u16>((fip >> 16 & 0xf) << 12 | fop) : u16{0});
  put<u16>(image, 5, static_cast<u16>(fdp));
  put<u16>(image, 6, format.real ? static_cast<u16>((fdp >> 16 & 0xf) << 12) : u16{0});
}

void read_environment(XsaveArea& x, EnvironmentFormat format, std::span<const u8> image) {
  u16 tags;
  set_top(x, get<u16>(image, format.wide ? 2 : 1) >> 11 & 7);
  if (format.wide) {
    x.fcw() = static_cast<u16>(get<u32>(image, 0));
    x.fsw() = static_cast<u16>(get<u32>(image, 1));
    tags = static_cast<u16>(get<u32>(image, 2));
    const u32 selector_and_opcode = get<u32>(image, 4);
    if (format.real) {
      x.fip() = (get<u32>(image, 3) & 0xffff) | (selector_and_opcode >> 12 & 0xffff) << 16;
      x.fop() = selector_and_opcode & 0x7ff;
      x.fdp() = (get<u32>(image, 5) & 0xffff) | (get<u32>(image, 6) >> 12 & 0xffff) << 16;
    } else {
      x.fip() = get<u32>(image, 3);
      x.fop() = selector_and_opcode >> 16 & 0x7ff;
      x.fdp() = get<u32>(image, 5);
    }
  } else {
    x.fcw() = get<u16>(image, 0);
    x.fsw() = get<u16>(image, 1);
    tags = get<u16>(image, 2);
    x.fip() = get<u16>(image, 3);
    x.fdp() = get<u16>(image, 5);
    x.fop() = 0;
    if (format.real) {
      x.fip() |= u64{get<u16>(image, 4)} >> 12 << 16;
      x.fop() = get<u16>(image, 4) & 0x7ff;
      x.fdp() |= u64{get<u16>(image, 6)} >> 12 << 16;
    }
  }
  unsigned abridged = 0;
  for (unsigned physical = 0; physical < 8; ++physical)
    if ((tags >> (2 * physical) & 3) != kEmpty) abridged |= 1u << physical;
  x.ftw() = static_cast<u8>(abridged);
  recompute_pending(x);
}

}  // namespace vellum::interp::native
