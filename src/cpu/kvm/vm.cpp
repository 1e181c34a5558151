#include "cpu/kvm/vm.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "cpu/kvm/cpuid.hpp"
#include "x86/msr.hpp"

namespace vellum::kvm {
namespace {

namespace msr = x86::msr;

// Intel's processors need three pages for a task state segment and one for an identity map in guest-physical
// space, for real mode without "unrestricted guest". Below the firmware's place, where no board has RAM.
constexpr u64 kIdentityMap = 0xfeffc000;
constexpr u64 kTaskState = 0xfeffd000;

struct Needed {
  int capability;
  const char* what;
};
constexpr std::array kNeeded{
    Needed{KVM_CAP_USER_MEMORY, "memory slots"},
    Needed{KVM_CAP_READONLY_MEM, "read-only memory slots"},
    Needed{KVM_CAP_IMMEDIATE_EXIT, "immediate_exit (Linux 4.12)"},
    Needed{KVM_CAP_USER_NMI, "NMIs from user space"},
    Needed{KVM_CAP_VCPU_EVENTS, "vCPU events"},
    Needed{KVM_CAP_XSAVE, "XSAVE state"},
    Needed{KVM_CAP_XCRS, "XCR0"},
    Needed{KVM_CAP_DEBUGREGS, "debug registers"},
    Needed{KVM_CAP_X86_USER_SPACE_MSR, "MSR exits (Linux 5.10)"},
    Needed{KVM_CAP_X86_MSR_FILTER, "MSR filters (Linux 5.10)"},
};

// One MSR or a run of them that is answered here; `apics`: unless the kernel keeps the local APICs. x2APIC's
// registers need no row: without an APIC in the kernel they are unknown there, which is an exit, too.
struct Routed {
  u32 first, count;
  u32 direction;
  bool apics = false;
};
constexpr u32 kBoth = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
constexpr std::array kRouted{
    Routed{msr::kTsc, 1, KVM_MSR_FILTER_WRITE},         Routed{msr::kApicBase, 1, kBoth, true},
    Routed{msr::kTscAdjust, 1, KVM_MSR_FILTER_WRITE},   Routed{msr::kBiosSignId, 1, KVM_MSR_FILTER_READ},
    Routed{msr::kPlatformInfo, 1, KVM_MSR_FILTER_READ}, Routed{msr::kMcgCap, 1, KVM_MSR_FILTER_READ},
    Routed{msr::kTscDeadline, 1, kBoth, true},
};

tl::unexpected<Error> refused(const char* what, int result) {
  return fail_errno(fmt::format("/dev/kvm: {}", what), -result);
}

}  // namespace

bool is_routed_msr(u32 index) {
  if (index >= msr::kX2apicFirst && index <= msr::kX2apicLast) return true;
  return std::ranges::any_of(
      kRouted, [index](const Routed& row) { return index >= row.first && index - row.first < row.count; });
}

Result<std::vector<kvm_cpuid_entry2>> supported_cpuid(const Handle& system) {
  for (u32 count = 128; count <= 4096; count *= 2) {
    CpuidArgument argument(count);
    const int result = system.call(kGetSupportedCpuid, argument.get());
    if (result == -E2BIG) continue;
    if (result < 0) return refused("KVM_GET_SUPPORTED_CPUID", result);
    return argument.entries();
  }
  return fail(ErrorCode::kHost, "/dev/kvm: its CPUID table has no end");
}

Result<std::unique_ptr<Vm>> Vm::create(KvmApi& api, GuestRam& ram, Irqchip irqchip) {
  const int system_fd = api.open();
  if (system_fd == -EACCES)
    return fail(
        ErrorCode::kHost,
        "/dev/kvm: permission denied; add yourself to its group (usually 'kvm') or choose --engine bt");
  if (system_fd < 0) return refused("cannot be opened", system_fd);
  Handle system(api, system_fd);
  if (const int version = system.call(KVM_GET_API_VERSION, 0ul); version != KVM_API_VERSION)
    return fail(ErrorCode::kUnsupported, "/dev/kvm: version {} of the interface, not {}", version,
                KVM_API_VERSION);
  const int vm_fd = system.call(KVM_CREATE_VM, 0ul);
  if (vm_fd < 0) return refused("KVM_CREATE_VM", vm_fd);
  std::unique_ptr<Vm> vm(new Vm(api, std::move(system), Handle(api, vm_fd), ram));
  VELLUM_TRY(vm->look_at_abilities());
  VELLUM_TRY(vm->create_apics(irqchip));
  VELLUM_TRY(vm->set_up());
  VELLUM_TRY(vm->remap());
  return vm;
}

Result<> Vm::look_at_abilities() {
  const auto extent = [this](int capability) {
    return vm_.call(KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability));
  };
  for (const Needed& row : kNeeded)
    if (extent(row.capability) <= 0)
      return fail(ErrorCode::kUnsupported, "/dev/kvm: this kernel's KVM has no {}; choose --engine bt",
                  row.what);
  const int page = system_.call(KVM_GET_VCPU_MMAP_SIZE, 0ul);
  if (page < static_cast<int>(sizeof(kvm_run)))
    return refused("KVM_GET_VCPU_MMAP_SIZE", page < 0 ? page : -EINVAL);
  constexpr int kSynced = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS;
  abilities_ = {.sync_regs = (extent(KVM_CAP_SYNC_REGS) & kSynced) == kSynced,
                .sregs2 = extent(KVM_CAP_SREGS2) > 0,
                .tsc_offset = extent(KVM_CAP_VCPU_ATTRIBUTES) > 0,
                .set_clock = extent(KVM_CAP_ADJUST_CLOCK) > 0,
                .doorbells = extent(KVM_CAP_IOEVENTFD) > 0,
                .run_size = static_cast<std::size_t>(page)};
  VELLUM_TRY_ASSIGN_TO(cpuid_, kvm::supported_cpuid(system_));
  return {};
}

Result<> Vm::set_up() {
  // AMD's processors need neither, and some implementations refuse them.
  u64 identity_map = kIdentityMap;
  vm_.call(KVM_SET_IDENTITY_MAP_ADDR, &identity_map);
  vm_.call(KVM_SET_TSS_ADDR, kTaskState);

  kvm_enable_cap exits{};
  exits.cap = KVM_CAP_X86_USER_SPACE_MSR;
  exits.args[0] = KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_FILTER;
  if (const int result = vm_.call(KVM_ENABLE_CAP, &exits); result < 0) return refused("MSR exits", result);

  static_assert(kRouted.size() <= KVM_MSR_FILTER_MAX_RANGES);
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_ALLOW;
  u8 deny = 0;  // a bit of 0 denies; rows have at most 8 MSRs
  std::size_t used = 0;
  for (const Routed& row : kRouted)
    if (!row.apics || !kernel_apics_) filter.ranges[used++] = {row.direction, row.count, row.first, &deny};
  if (const int result = vm_.call(KVM_X86_SET_MSR_FILTER, &filter); result < 0)
    return refused("KVM_X86_SET_MSR_FILTER", result);
  return {};
}

// "Split": with the whole irqchip the kernel would have its own PIC, I/O APIC and PIT, too.
// docs/design/kvm.md.
Result<> Vm::create_apics(Irqchip irqchip) {
  if (irqchip != Irqchip::kKernel) return {};
  kvm_enable_cap split{};
  split.cap = KVM_CAP_SPLIT_IRQCHIP;
  split.args[0] = kIoApicPins;
  const bool exists =
      vm_.call(KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_SPLIT_IRQCHIP)) > 0 &&
      vm_.call(KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_TSC_DEADLINE_TIMER)) > 0;
  const int result = exists ? vm_.call(KVM_ENABLE_CAP, &split) : -ENOTTY;
  kernel_apics_ = result >= 0;
  if (kernel_apics_) return {};
  return fail_errno("--kvm irqchip=kernel: /dev/kvm: KVM_CAP_SPLIT_IRQCHIP", -result);
}

int Vm::deliver(const Message& message) const {
  kvm_msi msi{};
  msi.address_lo = static_cast<u32>(message.address);
  msi.address_hi = static_cast<u32>(message.address >> 32);
  msi.data = message.data;
  return vm_.call(KVM_SIGNAL_MSI, &msi);
}

int Vm::set_routes(std::span<const Message> routes) const {
  // kvm_irq_routing: count and flags, then a flexible array.
  std::vector<u64> table(1 + routes.size() * sizeof(kvm_irq_routing_entry) / sizeof(u64));
  static_assert(sizeof(kvm_irq_routing_entry) % sizeof(u64) == 0);
  const std::array<u32, 2> head{static_cast<u32>(routes.size()), 0};
  std::memcpy(table.data(), head.data(), sizeof head);
  for (u32 number = 0; number < routes.size(); ++number) {
    kvm_irq_routing_entry entry{};
    entry.gsi = number;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<u32>(routes[number].address);
    entry.u.msi.address_hi = static_cast<u32>(routes[number].address >> 32);
    entry.u.msi.data = routes[number].data;
    std::memcpy(table.data() + 1 + number * (sizeof entry / sizeof(u64)), &entry, sizeof entry);
  }
  return vm_.call(kSetGsiRouting, table.data());
}

int Vm::add_interrupt_event(u32 number, int fd) const {
  kvm_irqfd event{};
  event.fd = static_cast<u32>(fd);
  event.gsi = number;
  return vm_.call(KVM_IRQFD, &event);
}

// With a size. Without one the kernel asks for nothing but the address, and on Intel's processors takes a
// read there for a ring, too, which leaves its register as it was.
int Vm::set_doorbell(const DoorbellPlace& place, int fd, bool on) const {
  kvm_ioeventfd bell{};
  bell.addr = place.address;
  bell.len = place.size;
  bell.fd = fd;
  bell.datamatch = place.value.value_or(0);
  bell.flags = (place.value ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0u) | (on ? 0u : KVM_IOEVENTFD_FLAG_DEASSIGN);
  return vm_.call(KVM_IOEVENTFD, &bell);
}

Result<> Vm::remap() {
  return gate_.while_closed([this] { return slots_.update(); });
}

bool Vm::offers_clock() const {
  return abilities_.set_clock && clock_features(cpuid_) != 0;
}

Result<u64> Vm::clock() const {
  kvm_clock_data data{};
  if (const int result = vm_.call(KVM_GET_CLOCK, &data); result < 0) return refused("KVM_GET_CLOCK", result);
  return data.clock;
}

Result<> Vm::set_clock(u64 ns) const {
  kvm_clock_data data{};
  data.clock = ns;
  if (const int result = vm_.call(KVM_SET_CLOCK, &data); result < 0) return refused("KVM_SET_CLOCK", result);
  return {};
}

Result<Vm::Vcpu> Vm::add_vcpu(unsigned index) {
  const int fd = vm_.call(KVM_CREATE_VCPU, static_cast<unsigned long>(index));
  if (fd < 0) return refused("KVM_CREATE_VCPU", fd);
  Handle vcpu(api_, fd);
  void* const page = api_.map_run(fd, abilities_.run_size);
  if (page == nullptr) return fail(ErrorCode::kHost, "/dev/kvm: cannot map a vCPU's page");
  return Vcpu{std::move(vcpu), RunPage(api_, page, abilities_.run_size)};
}

}  // namespace vellum::kvm
