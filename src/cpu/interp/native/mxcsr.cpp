#include "cpu/interp/native/mxcsr.hpp"

namespace vellum::interp::native {

bool run_float_slow(Vcpu& v, Thunk thunk, void* memory) {
  u32 mxcsr = v.state.xsave.mxcsr() & kMxcsrValid;
  bool done = true;
  if ((mxcsr & kMxcsrMasks) == kMxcsrMasks) {
    host_mxcsr(mxcsr);
    thunk(&v.state, memory);
    mxcsr = host_mxcsr();
    host_mxcsr(kMxcsrDefault);
  } else {
    done = run_guarded(thunk, v.state, memory, mxcsr);
  }
  v.state.xsave.mxcsr() = mxcsr;
  if (done) return true;
  return v.raise((v.state.cr4 & x86::cr4::kOsxmmexcpt) != 0 ? x86::kXm : x86::kUd);
}

}  // namespace vellum::interp::native
