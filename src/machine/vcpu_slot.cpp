#include "machine/vcpu_slot.hpp"

#include <optional>

#include "machine/host_time.hpp"
#include "x86/registers.hpp"

namespace vellum {

void VcpuSlot::stats(std::vector<StatRow>& rows) const {
  rows.push_back({"exits", "halted", exits_halted.get(), halted_ns.get()});
  rows.push_back({"exits", "interrupted", exits_interrupted.get(), 0});
  rows.push_back({"exits", "budget spent", exits_budget.get(), 0});
  engine->stats(rows);
}

Exit VcpuSlot::run(Budget budget) {
  const u64 begin = host_ns();
  Exit exit = engine->run(budget);
  run_ns.add(host_ns() - begin);
  if (std::holds_alternative<exit::Halted>(exit)) exits_halted.add();
  if (std::holds_alternative<exit::Interrupted>(exit)) exits_interrupted.add();
  if (std::holds_alternative<exit::BudgetSpent>(exit)) exits_budget.add();
  if (trace.wants(TraceKind::kExits)) [[unlikely]]
    trace_exit(exit);
  return exit;
}

void VcpuSlot::trace_exit(const Exit& exit) const {
  static constexpr const char* kNames[] = {"halted", "shut down", "interrupted", "budget spent",
                                           "stopped by the host"};
  static_assert(std::size(kNames) == std::variant_size_v<Exit>);
  VcpuState state;
  engine->pull(StateMask::kGeneral, state);
  const u64 retired = engine->retired();
  trace.line("exits: {} at {:x}{}", kNames[exit.index()], state.rip,
             retired != 0 ? fmt::format(" after {} instructions", retired) : "");
}

bool VcpuSlot::deaf() const {
  VcpuState state;
  engine->pull(StateMask::kGeneral | StateMask::kActivity, state);
  return state.activity == Activity::kWaitForSipi || (state.rflags & x86::rflags::kIf) == 0;
}

std::optional<Outcome> outcome_of(const VcpuSlot& slot, const Exit& exit) {
  if (const auto* shutdown = std::get_if<exit::Shutdown>(&exit))
    return Outcome{Outcome::Kind::kTripleFault, 0, fmt::format("vCPU {}: {}", slot.index, shutdown->reason)};
  if (const auto* failed = std::get_if<exit::HostFailed>(&exit))
    return Outcome{Outcome::Kind::kHostFailure, 0, fmt::format("vCPU {}: {}", slot.index, failed->reason)};
  return std::nullopt;
}

}  // namespace vellum
