// What an APIC in the kernel takes along: the vCPU's activity, and its own registers.
#include <cerrno>
#include <cstring>

#include "cpu/kvm/engine.hpp"
#include "x86/msr.hpp"

namespace vellum::kvm {
namespace {

constexpr unsigned kStride = 16;  // from one register to the next

u32 mp_state_of(Activity activity) {
  switch (activity) {
    case Activity::kHalted:
      return KVM_MP_STATE_HALTED;
    case Activity::kWaitForSipi:
      return KVM_MP_STATE_INIT_RECEIVED;
    default:
      return KVM_MP_STATE_RUNNABLE;
  }
}

Activity activity_of(u32 mp_state) {
  switch (mp_state) {
    case KVM_MP_STATE_HALTED:
      return Activity::kHalted;
    case KVM_MP_STATE_UNINITIALIZED:
    case KVM_MP_STATE_INIT_RECEIVED:
      return Activity::kWaitForSipi;
    default:
      return Activity::kRunning;
  }
}

}  // namespace

Result<> KvmEngine::pull_activity(VcpuState& to) {
  to.activity = v_.state.activity;
  to.sipi_vector = v_.state.sipi_vector;
  if (!kernel_apic_ || to.activity == Activity::kShutdown) return {};
  kvm_mp_state state{};
  if (const int result = kvm_.fd.call(KVM_GET_MP_STATE, &state); result < 0)
    return fail_errno(fmt::format("/dev/kvm: vCPU {}: KVM_GET_MP_STATE", v_.index), -result);
  to.activity = activity_of(state.mp_state);
  return {};
}

Result<> KvmEngine::push_activity(const VcpuState& from) {
  v_.state.activity = from.activity;
  v_.state.sipi_vector = from.sipi_vector;
  if (!kernel_apic_) return {};
  if (from.activity != Activity::kShutdown) v_.state.activity = Activity::kRunning;
  kvm_mp_state state{mp_state_of(from.activity)};
  if (const int result = kvm_.fd.call(KVM_SET_MP_STATE, &state); result < 0)
    return fail_errno(fmt::format("/dev/kvm: vCPU {}: KVM_SET_MP_STATE", v_.index), -result);
  return {};
}

void KvmEngine::flush_page() {
  completion_due_ = true;
  complete_access();
  flags_current_ = true;
}

Result<KernelApicState> KvmEngine::apic() const {
  KernelApicState state;
  kvm_lapic_state page{};
  state.base = apic_base();
  if (const int result = kvm_.fd.call(KVM_GET_LAPIC, &page); result < 0)
    return fail_errno(fmt::format("/dev/kvm: vCPU {}: KVM_GET_LAPIC", v_.index), -result);
  for (unsigned i = 0; i < state.registers.size(); ++i)
    std::memcpy(&state.registers[i], page.regs + i * kStride, sizeof(u32));
  u64 deadline = 0;
  if (registers_.get(x86::msr::kTscDeadline, deadline) && deadline != 0)
    state.tsc_deadline = deadline - v_.state.msr.tsc_adjust;
  return state;
}

Result<> KvmEngine::set_apic(const KernelApicState& state) {
  const auto refused = [this](const char* what, int result) {
    return fail_errno(fmt::format("/dev/kvm: vCPU {}: {}", v_.index, what), -result);
  };
  // Registers that wait in the page would bring the old base and priority along.
  flush_page();
  kvm_sregs sregs{};
  if (const int result = kvm_.fd.call(KVM_GET_SREGS, &sregs); result < 0)
    return refused("KVM_GET_SREGS", result);
  sregs.apic_base = state.base;
  // Two steps, as x2APIC mode is entered from xAPIC mode only.
  if ((state.base & (u64{1} << 10)) != 0) {
    sregs.apic_base &= ~(u64{1} << 10);
    kvm_.fd.call(KVM_SET_SREGS, &sregs);
    sregs.apic_base = state.base;
  }
  if (const int result = kvm_.fd.call(KVM_SET_SREGS, &sregs); result < 0)
    return refused("KVM_SET_SREGS", result);
  kvm_lapic_state page{};
  for (unsigned i = 0; i < state.registers.size(); ++i)
    std::memcpy(page.regs + i * kStride, &state.registers[i], sizeof(u32));
  if (const int result = kvm_.fd.call(KVM_SET_LAPIC, &page); result < 0)
    return refused("KVM_SET_LAPIC", result);
  if (state.tsc_deadline != 0)
    registers_.set(x86::msr::kTscDeadline, state.tsc_deadline + v_.state.msr.tsc_adjust);
  kvm_.run->cr8 = state.registers[8] >> 4 & 15;  // what registers pushed before the next entry bring
  return {};
}

// A level-triggered interrupt of the I/O APIC's.
void KvmEngine::end_of_interrupt() {
  eois_.add();
  if (EoiSink* const sink = vm_.eoi_sink()) sink->eoi(kvm_.run->eoi.vector);
}

}  // namespace vellum::kvm
