#include "cpu/kvm/engine.hpp"

#include <asm/kvm_para.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/assert.hpp"
#include "cpu/kvm/cpuid.hpp"
#include "cpu/kvm/registers.hpp"
#include "x86/msr.hpp"

namespace vellum::kvm {

KvmEngine::KvmEngine(Vm& vm, Vm::Vcpu vcpu, unsigned index, AddressSpace& space, VcpuBoard& board,
                     Clock& clock, const x86::CpuModel& model, Hazards& hazards)
    : vm_(vm),
      kernel_apic_(vm.kernel_apics()),
      kvm_(std::move(vcpu)),
      registers_(vm, kvm_, index),
      kicker_(*kvm_.run),
      v_(index, space, board, clock, model, hazards) {
  vm_.gate().add(kicker_);
}

KvmEngine::~KvmEngine() {
  v_.hazards.set_kicker(nullptr);
  vm_.gate().remove(kicker_);
}

Result<std::unique_ptr<KvmEngine>> KvmEngine::create(Vm& vm, unsigned index, AddressSpace& space,
                                                     VcpuBoard& board, Clock& clock,
                                                     const x86::CpuModel& model, Hazards& hazards) {
  VELLUM_TRY_ASSIGN(vcpu, vm.add_vcpu(index));
  std::unique_ptr<KvmEngine> engine(
      new KvmEngine(vm, std::move(vcpu), index, space, board, clock, model, hazards));
  VELLUM_TRY(engine->start());
  return engine;
}

Result<> KvmEngine::start() {
  x86::CpuidContext context;
  context.apic_id = v_.board.apic_id();
  context.cpu_count = v_.board.cpu_count();
  context.tsc_hz = v_.clock.tsc_hz();
  context.apic_timer_hz = v_.board.apic_timer_hz();
  auto leaves = cpuid_table(v_.model, context, vm_.supported_cpuid());
  if (vm_.offers_clock()) std::ranges::copy(clock_leaves(vm_.supported_cpuid()), std::back_inserter(leaves));
  CpuidArgument table(leaves);
  if (const int result = kvm_.fd.call(kSetCpuid2, table.get()); result < 0)
    return fail_errno(fmt::format("/dev/kvm: vCPU {}: KVM_SET_CPUID2", v_.index), -result);

  push(StateMask::kAll, reset_state(v_.index == 0, v_.model.signature()));
  if (refused_) return tl::unexpected(std::move(*refused_));
  priority_from_board();
  v_.hazards.set_kicker(&kicker_);
  return {};
}

u64 KvmEngine::apic_base() const {
  if (kernel_apic_) {
    kvm_sregs sregs{};
    if (registers_.system(sregs)) return sregs.apic_base;
  }
  u64 base = 0;
  v_.board.read_apic_msr(x86::msr::kApicBase, base);
  return base;
}

// ---- The loop ----

Exit KvmEngine::run(Budget budget) {
  VELLUM_ASSERT(budget.steps == ~u64{0}, "KVM cannot count {} steps", budget.steps);
  for (;;) {
    if (refused_) return leave(exit::HostFailed{std::exchange(refused_, std::nullopt)->message});
    if (auto e = before_entry()) return leave(std::move(*e));
    const int result = enter();
    if (result == -EINTR || result == -EAGAIN) {
      kicks_.add();
      continue;
    }
    if (result < 0) return leave(failed(fail_errno("KVM_RUN", -result).value().message));
    if (auto e = after_exit()) return leave(std::move(*e));
  }
}

std::optional<Exit> KvmEngine::before_entry() {
  kvm_run& run = *kvm_.run;
  // Before CR8 is written, what the guest last wrote there must have arrived.
  run.request_interrupt_window = 0;
  if (const u32 pending = v_.hazards.load(); pending != 0) [[unlikely]] {
    if (auto e = take_hazards(pending)) return e;
  }
  if (v_.state.activity != Activity::kRunning) [[unlikely]] {
    halts_.add();
    return exit::Halted{};
  }
  return std::nullopt;
}

int KvmEngine::enter() {
  kicker_.enter();
  // What came since before_entry() looked: it kicks only from now on.
  const u32 pending = v_.hazards.load();
  const bool waits_for_window = kvm_.run->request_interrupt_window != 0;
  if (pending != 0 && !(pending == Hazards::kInterrupt && waits_for_window)) [[unlikely]] {
    kicker_.leave();
    return -EAGAIN;
  }
  if (vm_.gate().closed()) [[unlikely]] {
    kicker_.leave();
    vm_.gate().wait();
    return -EAGAIN;
  }
  entries_.add();
  const int result = kvm_.fd.call(KVM_RUN, 0ul);
  kicker_.leave();
  vector_may_have_gone(result);
  // An entry that did not begin (EINTR) completes the last access, too.
  completion_due_ = false;
  flags_current_ = true;
  priority_to_board();
  return result;
}

// A kick may end an entry before it begins: the kernel then still holds the vector, and takes no second one.
void KvmEngine::vector_may_have_gone(int result) {
  if (result == 0 || kvm_.run->immediate_exit == 0) vector_waits_ = false;
}

void KvmEngine::complete_access() {
  if (!completion_due_) return;
  enter_aside(true);
  completion_due_ = false;
}

int KvmEngine::enter_aside(bool briefly) {
  for (;;) {
    kicker_.enter(briefly);
    if (!vm_.gate().closed()) break;
    kicker_.leave();
    vm_.gate().wait();
  }
  const int result = kvm_.fd.call(KVM_RUN, 0ul);
  kicker_.leave();
  return result;
}

// On the way out: the last access is completed, so that the registers are of an instruction boundary, and
// what has been accepted is delivered, so that VcpuState says it all.
Exit KvmEngine::leave(Exit exit) {
  complete_access();
  if (!std::holds_alternative<exit::Interrupted>(exit)) return exit;
  constexpr unsigned kAttempts = 100;
  for (unsigned i = 0; i < kAttempts; ++i) {
    const auto events = registers_.events();
    if (!events || !(delivery_in_progress(*events) || vector_waits_)) break;
    const KickTimer timer(20'000);
    if (!timer.armed()) break;
    const int result = enter_aside(false);
    vector_may_have_gone(result);
    flags_current_ = true;
    priority_to_board();
    if (result == 0)
      if (auto e = after_exit()) return leave(std::move(*e));
  }
  return exit;
}

// ---- Events on the way in ----

std::optional<Exit> KvmEngine::take_hazards(u32 pending) {
  if ((pending & Hazards::kStop) != 0) return exit::Interrupted{};
  if ((pending & Hazards::kTlbFlush) != 0) v_.hazards.clear(Hazards::kTlbFlush);  // KVM has noticed by itself
  if ((pending & Hazards::kSmi) != 0) v_.hazards.clear(Hazards::kSmi);  // there is no system-management mode
  if ((pending & Hazards::kInit) != 0) {
    if (auto e = reset_by_init()) return e;
  }
  if ((pending & Hazards::kSipi) != 0) start_by_sipi();
  if (v_.state.activity == Activity::kWaitForSipi || v_.state.activity == Activity::kShutdown)
    return std::nullopt;
  if (v_.hazards.clear(Hazards::kNmi)) {
    nmis_.add();
    // One that waits for the end of another's handler wakes nobody.
    if (v_.state.activity == Activity::kHalted) {
      const auto events = registers_.events();
      if (!events || events->nmi.masked == 0) v_.state.activity = Activity::kRunning;
    }
    if (const int result = kvm_.fd.call(KVM_NMI, 0ul); result < 0)
      return failed(fail_errno("KVM_NMI", -result).value().message);
  }
  if (v_.hazards.test(Hazards::kInterrupt)) return inject_interrupt();
  return std::nullopt;
}

std::optional<Exit> KvmEngine::inject_interrupt() {
  kvm_run& run = *kvm_.run;
  if (!flags_current_ && kernel_apic_) flush_page();  // a halted vCPU would not exit for a window
  if (!flags_current_) {
    // A state just pushed: the kernel knows whether it takes interrupts, and exits when it does.
    if (v_.state.activity == Activity::kHalted) {
      VcpuState now;
      if (auto pulled = registers_.pull(StateMask::kGeneral, now); !pulled)
        return failed(pulled.error().message);
      if ((now.rflags & x86::rflags::kIf) == 0) return std::nullopt;
      v_.state.activity = Activity::kRunning;
    }
    run.request_interrupt_window = 1;
    return std::nullopt;
  }
  if (v_.state.activity == Activity::kHalted && run.if_flag == 0) return std::nullopt;
  if (run.ready_for_interrupt_injection == 0 && v_.state.activity == Activity::kHalted) {
    v_.state.activity = Activity::kRunning;  // the window opens before the next instruction
  } else if (run.ready_for_interrupt_injection != 0 && run.if_flag != 0 && !vector_waits_) {
    const int vector = v_.board.acknowledge_interrupt();
    if (vector >= 0) {
      kvm_interrupt interrupt{static_cast<u32>(vector)};
      if (const int result = kvm_.fd.call(KVM_INTERRUPT, &interrupt); result < 0)
        return failed(fail_errno(fmt::format("KVM_INTERRUPT {:#x}", vector), -result).value().message);
      interrupts_.add();
      vector_waits_ = kernel_apic_;
      if (v_.trace.wants(TraceKind::kIrq)) [[unlikely]]
        v_.trace.line("irq: interrupt {:#x} injected", vector);
      v_.state.activity = Activity::kRunning;
      run.ready_for_interrupt_injection = 0;
    }
  }
  // A further one, or one that IF or a shadow holds off.
  run.request_interrupt_window = v_.hazards.test(Hazards::kInterrupt) ? 1 : 0;
  return std::nullopt;
}

std::optional<Exit> KvmEngine::reset_by_init() {
  v_.hazards.clear(Hazards::kInit);
  complete_access();
  VcpuState state;
  pull(StateMask::kAll, state);
  apply_init(state, v_.index == 0, v_.model.signature());
  push(StateMask::kAll, state);
  if (const Result<> off = vm_.offers_clock() ? set_clock_page(0) : Result<>(); !off) refused_ = off.error();
  priority_from_board();
  if (refused_) return exit::HostFailed{std::exchange(refused_, std::nullopt)->message};
  return std::nullopt;
}

void KvmEngine::start_by_sipi() {
  v_.hazards.clear(Hazards::kSipi);  // one that finds a running processor is lost
  if (v_.state.activity != Activity::kWaitForSipi) return;
  VcpuState state;
  pull(StateMask::kAll, state);
  apply_sipi(state, v_.hazards.sipi_vector.load(std::memory_order_acquire));
  push(StateMask::kGeneral | StateMask::kSegments | StateMask::kActivity, state);
}

void KvmEngine::priority_to_board() {
  if (kernel_apic_) return;
  const u8 now = static_cast<u8>(kvm_.run->cr8 & 15);
  if (now == cr8_) return;
  priorities_.add();
  cr8_ = now;
  v_.board.write_cr8(now);
}

void KvmEngine::priority_from_board() {
  if (kernel_apic_) return;
  cr8_ = v_.board.read_cr8();
  kvm_.run->cr8 = cr8_;
}

// ---- State ----

void KvmEngine::pull(StateMask groups, VcpuState& to) {
  pulls_.add();
  if (auto pulled = registers_.pull(groups, to); !pulled) refused_ = std::move(pulled).error();
  if (any(groups & StateMask::kMsrs)) to.msr.tsc_adjust = v_.state.msr.tsc_adjust;
  if (any(groups & StateMask::kActivity)) {
    if (auto pulled = pull_activity(to); !pulled) refused_ = std::move(pulled).error();
  }
}

void KvmEngine::push(StateMask groups, const VcpuState& from) {
  pushes_.add();
  flags_current_ = false;
  if (auto pushed = registers_.push(groups, from, apic_base()); !pushed) refused_ = std::move(pushed).error();
  if (any(groups & StateMask::kMsrs)) {
    v_.state.msr.tsc_adjust = from.msr.tsc_adjust;
    const auto lead = v_.clock.host_tsc_lead();
    VELLUM_ASSERT(lead.has_value(), "a clock that is not the host's");
    if (auto set = registers_.set_tsc(*lead, from.msr.tsc_adjust); !set) refused_ = std::move(set).error();
  }
  if (any(groups & StateMask::kActivity)) {
    if (auto pushed = push_activity(from); !pushed) refused_ = std::move(pushed).error();
  }
}

u64 KvmEngine::clock_page() const {
  u64 value = 0;
  (void)registers_.get(MSR_KVM_SYSTEM_TIME_NEW, value);
  return value;
}

Result<> KvmEngine::set_clock_page(u64 value) {
  if (value == clock_page() || registers_.set(MSR_KVM_SYSTEM_TIME_NEW, value)) return {};
  return fail(ErrorCode::kHost, "/dev/kvm: vCPU {}: the clock's page cannot be {:#x}", v_.index, value);
}

void KvmEngine::stats(std::vector<StatRow>& rows) const {
  const std::string vcpu = "vcpu" + std::to_string(v_.index);
  const auto row = [&](const char* name, const Counter& counter) {
    if (counter.get() != 0) rows.push_back({vcpu, name, counter.get(), 0});
  };
  row("entries into the guest", entries_);
  row("exits: port reads", port_reads_);
  row("exits: port writes", port_writes_);
  row("exits: MMIO reads", mmio_reads_);
  row("exits: MMIO writes", mmio_writes_);
  row("exits: MSR reads", msr_reads_);
  row("exits: MSR writes", msr_writes_);
  row("exits: HLT", halts_);
  row("exits: EOI of a level", eois_);
  row("exits: interrupt window", windows_);
  row("exits: kicked", kicks_);
  row("task priority changes", priorities_);
  row("interrupts injected", interrupts_);
  row("NMIs injected", nmis_);
  row("registers pulled", pulls_);
  row("registers pushed", pushes_);
  v_.unknown_msrs.stats(vcpu, rows);
}

}  // namespace vellum::kvm
