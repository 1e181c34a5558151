// What the guest was left for: accesses to the board are made here, everything else becomes an Exit.
#include <cstring>

#include "cpu/kvm/engine.hpp"
#include "cpu/system/control.hpp"
#include "x86/msr.hpp"

namespace vellum::kvm {
namespace {

template <class T>
u64 load_as(const u8* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// By size, as a copy of so many bytes would be a call. Sizes are is_access_size()'s.
u64 load(const u8* from, unsigned size) {
  switch (size) {
    case 1:
      return *from;
    case 2:
      return load_as<u16>(from);
    case 4:
      return load_as<u32>(from);
    default:
      return load_as<u64>(from);
  }
}

void store(u8* to, unsigned size, u64 value) {
  switch (size) {
    case 1:
      *to = static_cast<u8>(value);
      return;
    case 2:
      std::memcpy(to, &value, 2);
      return;
    case 4:
      std::memcpy(to, &value, 4);
      return;
    default:
      std::memcpy(to, &value, 8);
  }
}

// The task priority register: in the xAPIC's page, and as an MSR.
constexpr u32 kTprOffset = 0x80;
constexpr u32 kTprMsr = x86::msr::kX2apicFirst + (kTprOffset >> 4);

bool is_access_size(unsigned size) {
  return size == 1 || size == 2 || size == 4 || size == 8;
}

const char* internal_error_name(u32 suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_EMULATION:
      return "an instruction that accesses a device is not one that KVM can emulate";
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "two exceptions at once";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "an exit in the middle of an event's delivery";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return "an exit that KVM does not know";
    default:
      return "unknown";
  }
}

}  // namespace

std::optional<Exit> KvmEngine::after_exit() {
  const kvm_run& run = *kvm_.run;
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      port_io();
      return std::nullopt;
    case KVM_EXIT_MMIO:
      mmio();
      return std::nullopt;
    case KVM_EXIT_X86_RDMSR:
      msr_read();
      return std::nullopt;
    case KVM_EXIT_X86_WRMSR:
      msr_write();
      return std::nullopt;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
      windows_.add();
      return std::nullopt;
    case KVM_EXIT_IOAPIC_EOI:
      end_of_interrupt();
      return std::nullopt;
    case KVM_EXIT_SET_TPR:  // enter() has passed it on
    case KVM_EXIT_INTR:
      return std::nullopt;
    case KVM_EXIT_HLT:
      v_.state.activity = Activity::kHalted;
      return std::nullopt;
    case KVM_EXIT_SHUTDOWN:
      return shut_down();
    case KVM_EXIT_INTERNAL_ERROR:
      return failed(fmt::format("internal error {}: {}", run.internal.suberror,
                                internal_error_name(run.internal.suberror)));
    case KVM_EXIT_FAIL_ENTRY:
      return failed(fmt::format("the processor refused the guest's state, reason {:#x}",
                                run.fail_entry.hardware_entry_failure_reason));
    default:
      return failed(fmt::format("exit reason {}", run.exit_reason));
  }
}

// GUEST-CONTROLLED: port, size and data; `count` repetitions of a string instruction at once.
void KvmEngine::port_io() {
  kvm_run& run = *kvm_.run;
  const auto io = run.io;
  const u64 end = io.data_offset + u64{io.size} * io.count;
  completion_due_ = true;
  if (!is_access_size(io.size) || io.size > 4 || io.data_offset > kvm_.run.size() || end > kvm_.run.size()) {
    refused_ = Error{ErrorCode::kHost, "/dev/kvm: a port access that is none"};
    return;
  }
  u8* data = reinterpret_cast<u8*>(&run) + io.data_offset;  // SAFETY: within the page, checked above
  for (u32 i = 0; i < io.count; ++i, data += io.size) {
    if (io.direction == KVM_EXIT_IO_OUT) {
      port_writes_.add();
      v_.space.ports.write(io.port, io.size, load(data, io.size));
    } else {
      port_reads_.add();
      store(data, io.size, v_.space.ports.read(io.port, io.size));
    }
  }
}

// GUEST-CONTROLLED: address, size and data. Sizes that no bus access has (a string instruction's remainder, a
// misaligned operand's half) become bytes.
void KvmEngine::mmio() {
  auto& access = kvm_.run->mmio;
  completion_due_ = true;
  if (access.len == 0 || access.len > sizeof access.data) {
    refused_ = Error{ErrorCode::kHost, "/dev/kvm: a memory access that is none"};
    return;
  }
  const unsigned step = is_access_size(access.len) ? access.len : 1;
  const u64 apic = v_.board.apic_page();
  for (unsigned i = 0; i < access.len; i += step) {
    const u64 address = access.phys_addr + i;
    const bool is_apic =
        apic != ~u64{0} && address - apic < kPageSize && (address & kPageMask) + step <= kPageSize;
    const auto offset = static_cast<u32>(address & kPageMask);
    u8* const data = access.data + i;
    // Memory that has no slot for this direction: what stores find and reads do not.
    if (!is_apic && access_memory(GuestPhys(address), {data, step}, access.is_write != 0)) continue;
    if (access.is_write != 0) {
      if (is_apic)
        v_.board.write_apic_page(offset, step, load(data, step));
      else
        v_.space.mmio.write(address, step, load(data, step));
    } else {
      store(data, step, is_apic ? v_.board.read_apic_page(offset, step) : v_.space.mmio.read(address, step));
    }
    if (is_apic && access.is_write != 0 && offset == kTprOffset) priority_from_board();
  }
  (access.is_write != 0 ? mmio_writes_ : mmio_reads_).add();
}

bool KvmEngine::access_memory(GuestPhys at, std::span<u8> data, bool write) {
  return write ? v_.space.write(at, data) : v_.space.read(at, data);
}

// The MSRs that is_routed_msr() names, and those that the kernel has not or refuses to give this value. The
// table of the software engines answers the former; the rest is #GP(0).
void KvmEngine::msr_read() {
  auto& access = kvm_.run->msr;
  completion_due_ = true;
  msr_reads_.add();
  u64 value = 0;
  v_.state.cpl = 0;  // the kernel checked it
  if (!is_routed_msr(access.index)) {
    v_.unknown_msrs.count_read(access.index);
    access.error = 1;
    return;
  }
  access.error = read_msr(v_, access.index, value) ? 0 : 1;
  access.data = value;
}

void KvmEngine::msr_write() {
  auto& access = kvm_.run->msr;
  completion_due_ = true;
  msr_writes_.add();
  v_.state.cpl = 0;  // the kernel checked it
  const u32 index = access.index;
  if (!is_routed_msr(index)) {
    if (access.reason == KVM_MSR_EXIT_REASON_UNKNOWN) v_.unknown_msrs.count_write(index);
    access.error = 1;
    return;
  }
  const u64 adjust_before = v_.state.msr.tsc_adjust;
  access.error = write_msr(v_, index, access.data) ? 0 : 1;
  if (access.error != 0) return;
  if (v_.state.msr.tsc_adjust != adjust_before) {
    auto set = registers_.set_tsc(v_.clock.host_tsc_lead().value_or(0), v_.state.msr.tsc_adjust);
    if (!set) refused_ = std::move(set).error();
  }
  if (index == x86::msr::kApicBase && !kernel_apic_) {
    // The kernel's copy decides on CPUID's APIC bit. Its registers are of before this access, whose
    // completion comes first.
    complete_access();
    kvm_sregs sregs{};
    if (kvm_.fd.call(KVM_GET_SREGS, &sregs) == 0) {
      sregs.apic_base = apic_base();
      kvm_.fd.call(KVM_SET_SREGS, &sregs);
    }
  }
  if (index == x86::msr::kApicBase || index == kTprMsr) priority_from_board();
}

Exit KvmEngine::shut_down() {
  VcpuState s;
  auto pulled = registers_.pull(StateMask::kGeneral | StateMask::kSegments | StateMask::kControl, s);
  v_.state.activity = Activity::kShutdown;
  // AMD's processors leave nothing of the state, and KVM then has that of a reset.
  const bool lost = s.rip == 0xfff0 && s.segment(x86::Seg::kCs).selector == 0xf000;
  if (!pulled || lost) return exit::Shutdown{"triple fault"};
  return exit::Shutdown{fmt::format("triple fault; at {:04x}:{:x}, CR2 {:#x}",
                                    s.segment(x86::Seg::kCs).selector, s.rip, s.cr2)};
}

Exit KvmEngine::failed(std::string reason) {
  VcpuState s;
  if (!registers_.pull(StateMask::kGeneral, s)) return exit::HostFailed{"/dev/kvm: " + reason};
  return exit::HostFailed{fmt::format("/dev/kvm: {}; at {:x}", reason, s.rip)};
}

}  // namespace vellum::kvm
