// Combining events into double faults and shutdown (SDM vol. 3A §6.15, table 6-5), and choosing the next
// pending event (§6.9, table 6-2).
#include "cpu/system/events.hpp"

#include <fmt/format.h>

#include "cpu/system/event_class.hpp"

namespace vellum {

using namespace protection;
using x86::EventKind;
using x86::Exception;
using x86::Seg;
namespace flag = x86::rflags;

namespace {

/// More faults in a row than any combination by the table yields. Only benign ones that recur for ever (#AC
/// on the handler's own stack) get here; hardware would hang uninterruptibly, we stop.
constexpr unsigned kMaxChain = 16;

/// What the processor records when it detects the event, before any attempt to deliver it.
void record(Vcpu& v, const Exception& e) {
  if (e.kind != EventKind::kFault && e.kind != EventKind::kTrap) return;
  if (e.vector == x86::kPf) v.state.cr2 = e.address;
  if (e.vector == x86::kDb) v.state.dr6 |= e.address;
}

std::string describe(const Exception& e) {
  if (e.kind == EventKind::kSoftwareInterrupt) return fmt::format("INT {:#x}", e.vector);
  if (e.kind == EventKind::kInterrupt && e.vector != x86::kNmi)
    return fmt::format("interrupt {:#x}", e.vector);
  const std::string name = x86::vector_name(e.vector);
  if (e.vector == x86::kPf) return fmt::format("{}({:#x}, address {:#x})", name, e.error_code, e.address);
  return e.has_error_code ? fmt::format("{}({:#x})", name, e.error_code) : name;
}

std::optional<std::string> shut_down(Vcpu& v, const std::string& chain) {
  v.state.activity = Activity::kShutdown;
  return fmt::format("triple fault: {}; at {:04x}:{:x}, CR2 {:#x}", chain, v.state.segment(Seg::kCs).selector,
                     v.state.rip, v.state.cr2);
}

bool nmi_pending(const Vcpu& v) {
  return v.state.nmi_pending || v.hazards.test(Hazards::kNmi);
}

bool nmi_allowed(const Vcpu& v) {
  return !v.state.nmi_blocked && !v.state.shadow_mov_ss;
}

bool interrupt_allowed(const Vcpu& v) {
  return (v.state.rflags & flag::kIf) != 0 && !v.state.shadow_sti && !v.state.shadow_mov_ss;
}

/// INIT and SIPI change everything that the MMU derives from the state; INIT also empties the TLB (table
/// 9-1).
void resume_from_reset(Vcpu& v) {
  v.mmu.update_context();
  v.mmu.switch_address_space(0);
  v.mmu.flush_all();
}

}  // namespace

std::optional<std::string> deliver_event(Vcpu& v, const Exception& event) {
  Exception current = event;
  std::string chain;
  for (unsigned attempt = 0; attempt < kMaxChain; ++attempt) {
    record(v, current);
    const u64 from = v.state.rip;
    if (try_deliver(v, current)) {
      if (v.trace.wants(TraceKind::kIrq)) [[unlikely]]
        v.trace.line("irq: {} at {:x}, to {:x}", describe(current), from, v.state.rip);
      return std::nullopt;
    }
    const Exception met = v.fault;
    chain += fmt::format("{}{}", chain.empty() ? "" : ", ", describe(current));
    switch (combine(current, met)) {
      case Combination::kSerial:
        current = met;
        break;
      case Combination::kDoubleFault:
        chain += fmt::format(", {}", describe(met));
        record(v, met);
        current = {.vector = x86::kDf, .has_error_code = true};
        break;
      case Combination::kShutdown:
        record(v, met);
        return shut_down(v, fmt::format("{}, {}", chain, describe(met)));
    }
  }
  return shut_down(v, chain);
}

std::optional<std::string> deliver_pending(Vcpu& v) {
  v.hazards.clear(Hazards::kSmi);  // there is no system-management mode: an SMI has no effect
  if (v.hazards.clear(Hazards::kInit)) {
    apply_init(v.state, v.index == 0, v.model.signature());
    resume_from_reset(v);
    return std::nullopt;
  }
  if (v.hazards.test(Hazards::kSipi)) {
    v.hazards.clear(Hazards::kSipi);  // one that finds a running processor is lost
    if (v.state.activity == Activity::kWaitForSipi) {
      apply_sipi(v.state, v.hazards.sipi_vector.load(std::memory_order_acquire));
      resume_from_reset(v);
    }
    return std::nullopt;
  }
  if (v.state.activity == Activity::kWaitForSipi || v.state.activity == Activity::kShutdown)
    return std::nullopt;

  if (nmi_pending(v) && nmi_allowed(v)) {
    v.hazards.clear(Hazards::kNmi);
    v.state.nmi_pending = false;
    v.state.nmi_blocked = true;
    v.state.activity = Activity::kRunning;
    return deliver_event(v, {.vector = x86::kNmi, .kind = EventKind::kInterrupt});
  }
  if (v.hazards.test(Hazards::kInterrupt) && interrupt_allowed(v)) {
    const int vector = v.board.acknowledge_interrupt();
    if (vector < 0) return std::nullopt;
    v.state.activity = Activity::kRunning;
    return deliver_event(v, {.vector = static_cast<u8>(vector), .kind = EventKind::kInterrupt});
  }
  return std::nullopt;
}

bool event_deliverable(const Vcpu& v) {
  const u32 hazards = v.hazards.load();
  if ((hazards & (Hazards::kInit | Hazards::kSipi | Hazards::kSmi)) != 0) return true;
  if (v.state.activity == Activity::kWaitForSipi || v.state.activity == Activity::kShutdown) return false;
  if (nmi_pending(v) && nmi_allowed(v)) return true;
  return (hazards & Hazards::kInterrupt) != 0 && interrupt_allowed(v);
}

}  // namespace vellum
