// A KVM that runs nothing: it answers as the interface's text says, keeps what it is given, and each entry
// into the guest ends as a test scripts it. It says nothing about how a real one behaves.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <vector>

#include "cpu/kvm/api.hpp"
#include "cpu/kvm/cpuid.hpp"

namespace vellum::kvm {

class ScriptedKvm final : public KvmApi {
 public:
  /// One KVM_RUN that does not end at once: what it returns.
  using Step = std::function<int(kvm_run&)>;

  int open() override { return open_result; }
  void* map_run(int, std::size_t) override { return page.data(); }
  void unmap_run(void*, std::size_t) override {}
  void close(int) override {}

  int call(int, unsigned long request, unsigned long argument) override {
    switch (request) {
      case KVM_GET_API_VERSION:
        return KVM_API_VERSION;
      case KVM_CREATE_VM:
        return 101;
      case KVM_CREATE_VCPU:
        return 102;
      case KVM_CHECK_EXTENSION:
        return argument == KVM_CAP_SYNC_REGS ? sync_regs : 1;
      case KVM_GET_VCPU_MMAP_SIZE:
        return static_cast<int>(page.size() * sizeof page[0]);
      case kGetSupportedCpuid:
        return give_cpuid(argument);
      case KVM_RUN:
        return run();
      case KVM_GET_REGS:
        return copy_out(argument, regs);
      case KVM_SET_REGS:
        return copy_in(argument, regs);
      case KVM_GET_SREGS:
        return copy_out(argument, sregs);
      case KVM_SET_SREGS:
        return copy_in(argument, sregs);
      case KVM_GET_VCPU_EVENTS:
        return copy_out(argument, events);
      case KVM_SET_VCPU_EVENTS:
        return copy_in(argument, events);
      case KVM_INTERRUPT:
        kvm_interrupt interrupt;
        copy_in(argument, interrupt);
        interrupts.push_back(interrupt.irq);
        return 0;
      case KVM_NMI:
        ++nmis;
        return 0;
      case KVM_ENABLE_CAP:
        kvm_enable_cap enabled;
        copy_in(argument, enabled);
        if (enabled.cap == KVM_CAP_SPLIT_IRQCHIP) split_pins = enabled.args[0];
        return enabled.cap == KVM_CAP_SPLIT_IRQCHIP ? split_result : 0;
      case KVM_X86_SET_MSR_FILTER:
        return copy_in(argument, filter);
      case KVM_GET_LAPIC:
        return copy_out(argument, apic);
      case KVM_SET_LAPIC:
        sregs_at_set_apic = sregs;
        return copy_in(argument, apic);
      case KVM_GET_MP_STATE:
        return copy_out(argument, mp_state);
      case KVM_SET_MP_STATE:
        return copy_in(argument, mp_state);
      case KVM_SIGNAL_MSI:
        copy_in(argument, last_msi);
        return msi_result;
      case KVM_IOEVENTFD:
        return set_doorbell(argument);
      case KVM_SET_USER_MEMORY_REGION:
        return set_slot(argument);
      case KVM_GET_DIRTY_LOG:
        return give_dirty_log(argument);
      case kSetGsiRouting:
        return take_routes(argument);
      case KVM_IRQFD:
        kvm_irqfd event;
        copy_in(argument, event);
        interrupt_events.push_back(event);
        return interrupt_event_result;
      case kGetMsrs:
        return get_msr(argument);
      case kSetMsrs:
        return set_msr(argument);
      case kSetCpuid2:
        return take_cpuid(argument);
      case KVM_GET_CLOCK:
        return copy_out(argument, clock);
      case KVM_SET_CLOCK:
        return copy_in(argument, clock);
      default:
        return 0;
    }
  }

  kvm_run& run_page() { return *reinterpret_cast<kvm_run*>(page.data()); }
  /// Data of a port access, where the page has room.
  u8* io_data() { return reinterpret_cast<u8*>(page.data()) + kIoOffset; }
  static constexpr u64 kIoOffset = 4096;

  int open_result = 100;
  int sync_regs = 0;  ///< KVM_CAP_SYNC_REGS
  std::deque<Step> steps;
  kvm_regs regs{};
  kvm_sregs sregs{};
  kvm_vcpu_events events{};
  std::vector<kvm_cpuid_entry2> cpuid;
  std::vector<kvm_cpuid_entry2> vcpu_cpuid;  ///< as the last vCPU got it
  std::map<u32, u64> msrs;                   ///< those that there are
  u32 refused_msr = 0;                       ///< whose every value is refused
  kvm_clock_data clock{};
  std::vector<u32> interrupts;
  u64 split_pins = 0;  ///< of KVM_CAP_SPLIT_IRQCHIP
  int split_result = 0;
  kvm_msr_filter filter{};
  kvm_lapic_state apic{};
  kvm_sregs sregs_at_set_apic{};
  kvm_mp_state mp_state{};
  kvm_msi last_msi{};
  int msi_result = 1;
  std::vector<kvm_irq_routing_entry> routes;
  unsigned route_changes = 0;
  std::vector<kvm_irqfd> interrupt_events;
  int interrupt_event_result = 0;
  std::vector<kvm_ioeventfd> doorbells;
  std::map<u32, kvm_userspace_memory_region> slots;
  std::map<u32, std::vector<u64>> dirty;  ///< by slot; forgotten when asked for
  u64 refused_place = ~u64{0};            ///< of a slot or a doorbell
  std::function<void()> on_slot = [] {};  ///< each change of one
  unsigned nmis = 0;
  unsigned completions = 0;  ///< entries that immediate_exit ended

 private:
  int run() {
    if (run_page().immediate_exit != 0) {
      ++completions;
      return -EINTR;
    }
    if (steps.empty()) return -EIO;
    const Step step = std::move(steps.front());
    steps.pop_front();
    return step(run_page());
  }
  // SAFETY: the argument of these requests points to the structure that they name.
  template <class T>
  static int copy_out(unsigned long argument, const T& from) {
    std::memcpy(reinterpret_cast<void*>(argument), &from, sizeof from);
    return 0;
  }
  template <class T>
  static int copy_in(unsigned long argument, T& to) {
    std::memcpy(&to, reinterpret_cast<const void*>(argument), sizeof to);
    return 0;
  }
  struct OneMsr {
    u32 count, pad;
    kvm_msr_entry entry;
  };
  int get_msr(unsigned long argument) {
    OneMsr one;
    copy_in(argument, one);
    const auto msr = msrs.find(one.entry.index);
    if (msr == msrs.end()) return 0;
    one.entry.data = msr->second;
    copy_out(argument, one);
    return 1;
  }
  int set_msr(unsigned long argument) {
    OneMsr one;
    copy_in(argument, one);
    if (one.entry.index == refused_msr) return 0;
    if (const auto msr = msrs.find(one.entry.index); msr != msrs.end()) msr->second = one.entry.data;
    return 1;
  }
  int take_cpuid(unsigned long argument) {
    u32 count;
    copy_in(argument, count);
    CpuidArgument table(count);
    std::memcpy(table.get(), reinterpret_cast<const void*>(argument), 8 + count * sizeof(kvm_cpuid_entry2));
    vcpu_cpuid = table.entries();
    return 0;
  }
  int take_routes(unsigned long argument) {
    u32 count;
    copy_in(argument, count);
    routes.resize(count);
    std::memcpy(routes.data(), reinterpret_cast<const u8*>(argument) + 8, count * sizeof routes[0]);
    ++route_changes;
    return 0;
  }
  // As the kernel: what is there already is refused, and what is to go must be there.
  int set_doorbell(unsigned long argument) {
    kvm_ioeventfd bell;
    copy_in(argument, bell);
    const bool on = (bell.flags & KVM_IOEVENTFD_FLAG_DEASSIGN) == 0;
    bell.flags &= ~u32{KVM_IOEVENTFD_FLAG_DEASSIGN};
    const auto same = [&bell](const kvm_ioeventfd& other) {
      return other.addr == bell.addr && other.len == bell.len && other.datamatch == bell.datamatch &&
             other.flags == bell.flags;
    };
    const auto there = std::ranges::find_if(doorbells, same);
    if (bell.addr == refused_place) return -ENOSPC;
    if (on == (there != doorbells.end())) return on ? -EEXIST : -ENOENT;
    if (on)
      doorbells.push_back(bell);
    else
      doorbells.erase(there);
    return 0;
  }
  // As the kernel: neither place nor KVM_MEM_READONLY changes, nothing overlaps.
  int set_slot(unsigned long argument) {
    kvm_userspace_memory_region region;
    copy_in(argument, region);
    on_slot();
    if (region.guest_phys_addr == refused_place) return -EINVAL;
    if (region.memory_size == 0) return slots.erase(region.slot) == 1 ? 0 : -EINVAL;
    for (const auto& [number, other] : slots) {
      const bool apart = region.guest_phys_addr >= other.guest_phys_addr + other.memory_size ||
                         other.guest_phys_addr >= region.guest_phys_addr + region.memory_size;
      if (number != region.slot && !apart) return -EEXIST;
      if (number == region.slot &&
          (region.userspace_addr != other.userspace_addr || region.guest_phys_addr != other.guest_phys_addr ||
           region.memory_size != other.memory_size || ((region.flags ^ other.flags) & KVM_MEM_READONLY) != 0))
        return -EINVAL;
    }
    slots[region.slot] = region;
    return 0;
  }
  int give_dirty_log(unsigned long argument) {
    kvm_dirty_log log;
    copy_in(argument, log);
    const auto slot = slots.find(log.slot);
    if (slot == slots.end() || (slot->second.flags & KVM_MEM_LOG_DIRTY_PAGES) == 0) return -ENOENT;
    const std::vector<u64> bits = std::exchange(dirty[log.slot], {});
    std::memcpy(log.dirty_bitmap, bits.data(), bits.size() * sizeof(u64));
    return 0;
  }
  int give_cpuid(unsigned long argument) {
    u32 room;
    copy_in(argument, room);
    if (room < cpuid.size()) return -E2BIG;
    CpuidArgument table(cpuid);
    std::memcpy(reinterpret_cast<void*>(argument), table.get(), 8 + cpuid.size() * sizeof cpuid[0]);
    return 0;
  }

  std::vector<u64> page = std::vector<u64>(3 * 4096 / sizeof(u64));
};

}  // namespace vellum::kvm
