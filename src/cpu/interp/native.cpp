// Which instructions run natively, and by which family's handlers (cpu/interp/native/).
#include "cpu/interp/native.hpp"

#include "cpu/interp/binding.hpp"
#include "cpu/interp/native/families.hpp"

namespace vellum::interp {

struct NativeCode::Impl {
  native::ThunkCache thunks;
};

NativeCode::NativeCode() : impl_(std::make_unique<Impl>()) {}
NativeCode::~NativeCode() = default;

bool NativeCode::full() const {
  return impl_->thunks.full();
}
void NativeCode::clear() {
  impl_->thunks.clear();
}

namespace {

// LZCNT and TZCNT are BSR and BSF, and the prefetches NOPs, on a processor that lacks them: not undefined.
bool runs_without_feature(ZydisMnemonic m) {
  return m == ZYDIS_MNEMONIC_LZCNT || m == ZYDIS_MNEMONIC_TZCNT;
}

}  // namespace

bool NativeCode::bind(const x86::Decoded& decoded, const Vcpu& v, bool mode_64, Insn& out) {
  const native::IsaRow* row = native::find_isa(decoded.info);
  if (row == nullptr) return false;
  out.length = decoded.info.length;
  if ((!v.model.has(row->feature) || !v.model.has(row->also)) &&
      !runs_without_feature(decoded.info.mnemonic)) {
    out.run = undefined_opcode;
    return true;
  }
  const native::Request request{decoded, v, mode_64, impl_->thunks};
  switch (row->family) {
    case native::Family::kX87:
      return bind_x87_control(request, out) || bind_x87(request, out);
    case native::Family::kVector:
      return bind_move(request, out) || bind_masked(request, out) || bind_vector(request, out);
    case native::Family::kInteger:
      return bind_integer(request, out);
    case native::Family::kState:
      return bind_state(request, out);
    case native::Family::kHint:
      return bind_hint(request, out);
  }
  return false;
}

}  // namespace vellum::interp
