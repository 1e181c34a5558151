// VcpuState's groups in KVM's structures and back. Pure: no system calls.
#pragma once

#include <linux/kvm.h>

#include "cpu/kvm/api.hpp"
#include "cpu/state.hpp"

namespace vellum::kvm {

void to_regs(const VcpuState& s, kvm_regs& r);
void from_regs(const kvm_regs& r, VcpuState& s);

/// Segments, descriptor tables, control registers, EFER. The APIC's base and CR8 are the caller's.
void to_sregs(const VcpuState& s, kvm_sregs& r);
void from_sregs(const kvm_sregs& r, VcpuState& s);

void to_debugregs(const VcpuState& s, kvm_debugregs& r);
void from_debugregs(const kvm_debugregs& r, VcpuState& s);

/// The XSAVE area's first 832 bytes: x87, SSE, AVX.
void to_xsave(const VcpuState& s, XsaveBytes& area);
void from_xsave(const XsaveBytes& area, VcpuState& s);

/// Shadows and NMI state. An event that is being delivered has no place in VcpuState: none may be.
void to_events(const VcpuState& s, kvm_vcpu_events& e);
void from_events(const kvm_vcpu_events& e, VcpuState& s);

/// Whether an exception, interrupt or NMI is accepted and not yet delivered.
bool delivery_in_progress(const kvm_vcpu_events& e);

}  // namespace vellum::kvm
