#include "cpu/bt/vector_state.hpp"

#include "cpu/interp/native/isa.hpp"
#include "cpu/interp/native/mxcsr.hpp"

namespace vellum::bt {
namespace {

constexpr u16 kFcwMasks = 0x3f;

constexpr u16 in_xsave(std::size_t offset) {
  return static_cast<u16>(offsetof(VcpuState, xsave) + offset);
}
constexpr unsigned kSt = 32, kXmm = 160;  // in FXSAVE's layout (SDM vol. 1 table 10-2)

a::Mem xmm_at(const Distances& d, unsigned n) {
  return d.at(in_xsave(offsetof(XsaveArea, legacy) + kXmm + 16 * n), 16);
}
a::Mem ymm_high_at(const Distances& d, unsigned n, unsigned bytes = 16) {
  return d.at(in_xsave(offsetof(XsaveArea, ymm_high) + 16 * n), bytes);
}
a::Mem legacy_at(const Distances& d, unsigned offset, unsigned bytes) {
  return d.at(in_xsave(offsetof(XsaveArea, legacy) + offset), bytes);
}
a::Mem image_at(unsigned offset, unsigned bytes) {
  return field(offsetof(Context, fx_image) + offset, bytes);
}

bool host_has_avx() {
  return __builtin_cpu_supports("avx") != 0;
}

// What FXSAVE's image and the state have in common, but for FOP, FIP and FDP: those are kept in memory, as
// the host's would be addresses of its own code.
void copy_x87(a::Assembler& as, const auto& from, const auto& to) {
  as.mov(a::eax, from(0, 4));  // FCW, FSW
  as.mov(to(0, 4), a::eax);
  as.mov(a::ax, from(4, 2));  // FTW
  as.mov(to(4, 2), a::ax);
  for (unsigned n = 0; n < 8; ++n) {
    as.movaps(a::xmm0, from(kSt + 16 * n, 16));
    as.movaps(to(kSt + 16 * n, 16), a::xmm0);
  }
}

}  // namespace

u32 open_vectors(VcpuState& s) {
  using interp::native::Gate;
  using interp::native::gate_open;
  u32 open = 0;
  if ((s.xsave.mxcsr() & interp::native::kMxcsrMasks) == interp::native::kMxcsrMasks) {
    if (gate_open<Gate::kSse>(s)) open |= kSseOpen;
    if (host_has_avx() && gate_open<Gate::kAvx>(s)) open |= kAvxOpen;
  }
  if ((s.xsave.fcw() & kFcwMasks) == kFcwMasks && gate_open<Gate::kX87>(s)) open |= kX87Open;
  return open;
}

// Measured on a Zen 5: these moves take 4 ns either way, XSAVE and XRSTOR 30 and 80 (docs/design/
// binary-translation.md).
void emit_save_vectors(a::Assembler& as, const Distances& d) {
  const asmjit::Label no_vectors = as.newLabel(), usual_mxcsr = as.newLabel(), done = as.newLabel();
  as.mov(field(offsetof(Context, vectors), 4), 0);
  as.test(a::ecx, u32{kVectors});
  as.jz(no_vectors);
  for (unsigned n = 0; n < 16; ++n) {
    if (host_has_avx()) {
      as.vmovaps(xmm_at(d, n), a::xmm(n));
      as.vextractf128(ymm_high_at(d, n), a::ymm(n), 1);
    } else {
      as.movaps(xmm_at(d, n), a::xmm(n));
    }
  }
  if (host_has_avx()) as.vzeroupper();
  // Sticky flags may stay: C++ does not look at them.
  const a::Mem mxcsr = legacy_at(d, 24, 4);
  as.stmxcsr(mxcsr);
  as.mov(a::edx, mxcsr);
  as.and_(a::edx, ~interp::native::kMxcsrFlags);
  as.cmp(a::edx, interp::native::kMxcsrDefault);
  as.je(usual_mxcsr);
  as.ldmxcsr(field(offsetof(Context, host_mxcsr), 4));
  as.bind(usual_mxcsr);
  as.bind(no_vectors);
  as.test(a::ecx, u32{kX87Open});
  as.jz(done);
  as.mov(a::r8, kT0);
  as.fxsave64(image_at(0, 0));
  copy_x87(as, image_at, [&](unsigned offset, unsigned bytes) { return legacy_at(d, offset, bytes); });
  // Nothing is pending, as everything was masked.
  as.emms();
  as.fldcw(field(offsetof(Context, host_fcw), 2));
  as.mov(kT0, a::r8);
  as.bind(done);
  as.ret();
}

void emit_load_vectors(a::Assembler& as, const Distances& d) {
  const asmjit::Label no_x87 = as.newLabel(), low = as.newLabel(), last = as.newLabel(), done = as.newLabel();
  as.mov(field(offsetof(Context, vectors), 4), a::ecx);
  as.test(a::ecx, u32{kX87Open});
  as.jz(no_x87);
  copy_x87(
      as, [&](unsigned offset, unsigned bytes) { return legacy_at(d, offset, bytes); }, image_at);
  as.mov(a::eax, field(offsetof(Context, host_mxcsr), 4));
  as.mov(image_at(24, 4), a::eax);
  as.fxrstor64(image_at(0, 0));
  as.bind(no_x87);
  as.test(a::ecx, u32{kVectors});
  as.jz(done);
  if (host_has_avx()) {
    // Upper halves that are not known to be 0 slow down legacy SSE instructions (SDM vol. 1 §14.1.5 "AVX and
    // SSE transition"), and most guests have none in use most of the time.
    as.vmovups(a::ymm0, ymm_high_at(d, 0, 32));
    for (unsigned n = 2; n < 16; n += 2) as.vorps(a::ymm0, a::ymm0, ymm_high_at(d, n, 32));
    as.vptest(a::ymm0, a::ymm0);
    as.jz(low);
    for (unsigned n = 0; n < 16; ++n) {
      as.vmovaps(a::xmm(n), xmm_at(d, n));
      as.vinsertf128(a::ymm(n), a::ymm(n), ymm_high_at(d, n), 1);
    }
    as.jmp(last);
    as.bind(low);
    as.vzeroupper();
  }
  for (unsigned n = 0; n < 16; ++n) as.movaps(a::xmm(n), xmm_at(d, n));
  as.bind(last);
  as.ldmxcsr(legacy_at(d, 24, 4));
  as.bind(done);
  as.ret();
}

}  // namespace vellum::bt
