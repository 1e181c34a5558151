// CPUID as this vCPU sees it now.
#include "cpu/system/control.hpp"
#include "x86/msr.hpp"

namespace vellum {

x86::CpuidResult cpuid(const Vcpu& v, u32 leaf, u32 subleaf) {
  const VcpuState& s = v.state;
  x86::CpuidContext context;
  context.apic_id = v.board.apic_id();
  context.cpu_count = v.board.cpu_count();
  context.cr4 = s.cr4;
  context.xcr0 = s.xcr0;
  context.xss = s.msr.xss;
  context.tsc_hz = v.clock.tsc_hz();
  context.mode_64 = s.mode_64();
  context.limit_cpuid = (s.msr.misc_enable & x86::msr::misc_enable::kLimitCpuid) != 0;
  context.apic_timer_hz = v.board.apic_timer_hz();
  u64 apic_base = x86::msr::apic_base::kEnable;
  if (v.board.read_apic_msr(x86::msr::kApicBase, apic_base))
    context.apic_enabled = (apic_base & x86::msr::apic_base::kEnable) != 0;
  return v.model.cpuid(leaf, subleaf, context);
}

}  // namespace vellum
