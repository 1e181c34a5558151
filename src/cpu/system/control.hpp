// Privileged registers: control, debug and model-specific registers, XCR0, descriptor tables, I/O permission.
// Privilege (CPL) is checked here, as part of each operation's faults.
#pragma once

#include "cpu/system/vcpu.hpp"

namespace vellum {

/// MOV to/from CRn; n of 0, 2, 3, 4, 8 (else #UD). All checks, TLB flushes and mode changes of the SDM (vol.
/// 2, MOV Control Registers; vol. 3A §4.10.4).
[[nodiscard]] bool write_cr(Vcpu& v, unsigned n, u64 value);
[[nodiscard]] bool read_cr(Vcpu& v, unsigned n, u64& value);
[[nodiscard]] bool load_msw(Vcpu& v, u16 value);  ///< LMSW
[[nodiscard]] bool clear_ts(Vcpu& v);             ///< CLTS
[[nodiscard]] bool write_dr(Vcpu& v, unsigned n, u64 value);
[[nodiscard]] bool read_dr(Vcpu& v, unsigned n, u64& value);
[[nodiscard]] bool set_xcr(Vcpu& v, u32 index, u64 value);   ///< XSETBV
[[nodiscard]] bool get_xcr(Vcpu& v, u32 index, u64& value);  ///< XGETBV
[[nodiscard]] bool invlpg(Vcpu& v, u64 linear);
[[nodiscard]] bool invpcid(Vcpu& v, u64 type, u64 descriptor_low, u64 descriptor_high);

/// RDMSR, WRMSR: one table of MSRs (msr.cpp). Unknown ones and bad values: #GP(0).
[[nodiscard]] bool read_msr(Vcpu& v, u32 index, u64& value);
[[nodiscard]] bool write_msr(Vcpu& v, u32 index, u64 value);

/// RDTSC's value now (CR4.TSD is checked by the caller's instruction).
u64 read_tsc(const Vcpu& v);

/// CPUID with this vCPU's context.
x86::CpuidResult cpuid(const Vcpu& v, u32 leaf, u32 subleaf);

/// IOPL and the TSS's permission bitmap for ports [port, port + size); #GP(0).
[[nodiscard]] bool check_io_permission(Vcpu& v, u16 port, unsigned size);
/// Port accesses after check_io_permission; honour I/O breakpoints.
u64 port_read(Vcpu& v, u16 port, unsigned size);
void port_write(Vcpu& v, u16 port, unsigned size, u64 value);

/// POPF/IRET rules: the flags of `value` that the current CPL, IOPL and operand size may change (vol. 2,
/// POPF). V86 with IOPL < 3: #GP(0) (or VME's rules).
[[nodiscard]] bool pop_flags(Vcpu& v, u64 value, unsigned operand_size);
[[nodiscard]] bool push_flags_value(Vcpu& v, unsigned operand_size, u64& value);
[[nodiscard]] bool cli(Vcpu& v);
[[nodiscard]] bool sti(Vcpu& v);  ///< sets shadow_sti when IF was 0

/// After anything wrote state directly (push(), restore, reset): recomputes derived state and flushes
/// everything.
void resync(Vcpu& v);

}  // namespace vellum
