#include "cpu/interp/native/thunk.hpp"

#include <asmjit/x86.h>

#include <cstddef>
#include <cstring>
#include <string_view>

#include "base/assert.hpp"

namespace vellum::interp::native {
namespace {

namespace a = asmjit::x86;
using asmjit::x86::Assembler;

constexpr auto kState = a::rdi;
constexpr std::size_t kXsave = offsetof(VcpuState, xsave);

a::Mem state_at(std::size_t offset) {
  return a::ptr(kState, static_cast<i32>(offset));
}
a::Mem xmm_at(unsigned n) {
  return state_at(kXsave + offsetof(XsaveArea, legacy) + 160 + 16 * n);
}
a::Mem ymm_high_at(unsigned n) {
  return state_at(kXsave + offsetof(XsaveArea, ymm_high) + 16 * n);
}
a::Mem gpr_at(unsigned n) {
  return state_at(offsetof(VcpuState, gpr) + 8 * n);
}
a::Mem flags_at() {
  return state_at(offsetof(VcpuState, rflags));
}

template <class F>
void each_bit(unsigned mask, F f) {
  for (unsigned n = 0; mask != 0; ++n, mask >>= 1)
    if ((mask & 1) != 0) f(n);
}

void load_vectors(Assembler& as, const ThunkSpec& spec) {
  each_bit(spec.load_xmm & ~spec.load_ymm, [&](unsigned n) {
    if (spec.vex) {
      as.vmovups(a::xmm(n), xmm_at(n));
    } else {
      as.movups(a::xmm(n), xmm_at(n));
    }
  });
  each_bit(spec.load_ymm, [&](unsigned n) {
    as.vmovups(a::xmm(n), xmm_at(n));
    as.vinsertf128(a::ymm(n), a::ymm(n), ymm_high_at(n), 1);
  });
}

void store_vectors(Assembler& as, const ThunkSpec& spec) {
  each_bit(spec.store, [&](unsigned n) {
    if (spec.vex) {
      // The instruction itself cleared what lies above a 128-bit result.
      as.vmovups(xmm_at(n), a::xmm(n));
      as.vextractf128(ymm_high_at(n), a::ymm(n), 1);
    } else {
      as.movups(xmm_at(n), a::xmm(n));
    }
  });
  // Upper halves left in use would slow down every SSE instruction of ours (SDM vol. 1 §14.1.5).
  if (spec.load_ymm != 0 || (spec.vex && spec.store != 0)) as.vzeroupper();
}

void store_flags(Assembler& as, const ThunkSpec& spec) {
  as.pushfq();
  as.pop(a::rax);
  as.and_(a::eax, static_cast<u32>(spec.flags_out));
  as.mov(a::rdx, flags_at());
  as.and_(a::rdx, static_cast<i32>(~u32{spec.flags_out}));  // sign-extended: keeps bits 63..32
  as.or_(a::rdx, a::rax);
  as.mov(flags_at(), a::rdx);
}

// Leaves the host an empty x87 stack, the default control word and nothing pending. EMMS and FLDCW are ten
// times as fast as FNINIT, but would take a pending exception.
void release_x87(Assembler& as) {
  const asmjit::Label pending = as.newLabel();
  as.test(a::byte_ptr(kState, static_cast<i32>(kXsave + 2)), 0x80);  // FSW.ES
  as.jnz(pending);
  as.emms();
  as.mov(a::word_ptr(a::rsp, -8), 0x37f);
  as.fldcw(a::word_ptr(a::rsp, -8));
  as.ret();
  as.bind(pending);
  as.fninit();
}

void emit(Assembler& as, const ThunkSpec& spec) {
  const a::Mem image = state_at(kXsave);
  if (spec.whole_x87) {
    as.fxrstor64(image);
  } else {
    load_vectors(as, spec);
  }
  if (spec.load_named) as.mov(a::rax, gpr_at(spec.named_gpr));
  each_bit(spec.load_gpr, [&](unsigned n) { as.mov(a::gpq(n), gpr_at(n)); });
  if (spec.flags_in) {
    as.mov(a::eax, flags_at());
    as.mov(a::ah, a::al);
    as.sahf();
  }
  as.embed(spec.code.data(), spec.code_size);
  // Nothing from here on changes a flag before store_flags() has read them.
  if (spec.store_named) as.mov(gpr_at(spec.named_gpr), a::rax);
  each_bit(spec.store_gpr, [&](unsigned n) { as.mov(gpr_at(n), a::gpq(n)); });
  if (!spec.whole_x87) store_vectors(as, spec);
  if (spec.flags_out != 0) store_flags(as, spec);
  if (spec.whole_x87) {
    as.fxsave64(image);
    as.mov(a::dword_ptr(kState, static_cast<i32>(kXsave + 28)), 0);  // MXCSR_MASK is no state
    release_x87(as);
  }
  as.ret();
}

class AssertNoError final : public asmjit::ErrorHandler {
 public:
  void handleError(asmjit::Error, const char* message, asmjit::BaseEmitter*) override {
    VELLUM_ASSERT(false, "assembling a thunk: {}", message);
  }
};

}  // namespace

std::size_t ThunkCache::Hash::operator()(const ThunkSpec& spec) const {
  const std::string_view code(reinterpret_cast<const char*>(spec.code.data()), spec.code.size());
  const u64 registers =
      u64{spec.named_gpr} | u64{spec.load_xmm} << 8 | u64{spec.store} << 24 | u64{spec.load_ymm} << 40;
  return std::hash<std::string_view>{}(code) ^ (registers * 0x9e3779b97f4a7c15);
}

ThunkCache::ThunkCache() = default;

ThunkCache::~ThunkCache() {
  clear();
}

void ThunkCache::map() {
  asmjit::VirtMem::DualMapping mapping{};
  const auto error =
      asmjit::VirtMem::allocDualMapping(&mapping, kCodeBytes, asmjit::VirtMem::MemoryFlags::kAccessRWX);
  VELLUM_ASSERT(error == asmjit::kErrorOk, "no memory for thunks: {}",
                asmjit::DebugUtils::errorAsString(error));
  executable_ = static_cast<u8*>(mapping.rx);
  writable_ = static_cast<u8*>(mapping.rw);
}

void ThunkCache::clear() {
  thunks_.clear();
  used_ = 0;
  if (executable_ == nullptr) return;
  asmjit::VirtMem::DualMapping mapping{executable_, writable_};
  asmjit::VirtMem::releaseDualMapping(&mapping, kCodeBytes);
  executable_ = writable_ = nullptr;
}

Thunk ThunkCache::get(const ThunkSpec& spec) {
  if (const auto it = thunks_.find(spec); it != thunks_.end()) return it->second;
  if (executable_ == nullptr) map();
  AssertNoError on_error;
  asmjit::CodeHolder holder;
  holder.init(asmjit::Environment::host());
  holder.setErrorHandler(&on_error);
  Assembler as(&holder);
  emit(as, spec);
  const auto& code = holder.sectionById(0)->buffer();
  VELLUM_ASSERT(used_ + code.size() <= kCodeBytes, "{} bytes of thunks", used_);
  std::memcpy(writable_ + used_, code.data(), code.size());
  // SAFETY: the bytes at executable_ + used_ are the function that was just assembled, through its other
  // mapping.
  const auto thunk = reinterpret_cast<Thunk>(executable_ + used_);
  used_ = align_up(used_ + code.size(), 16);
  thunks_.emplace(spec, thunk);
  return thunk;
}

}  // namespace vellum::interp::native
