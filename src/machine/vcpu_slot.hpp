// One vCPU's place in the machine: its hazard word, its engine, and what its exits cost.
#pragma once

#include <memory>

#include "base/clock.hpp"
#include "base/trace.hpp"
#include "cpu/engine.hpp"
#include "cpu/hazard.hpp"
#include "machine/outcome.hpp"

namespace vellum {

struct VcpuSlot final : StatSource {
  explicit VcpuSlot(unsigned number) : index(number) {}

  const unsigned index;
  Hazards hazards;
  std::unique_ptr<Engine> engine;
  Timer* timer = nullptr;  ///< its local APIC's, if that is ours
  Tracer trace;

  // Written by the thread that runs this vCPU.
  Counter exits_halted, exits_interrupted, exits_budget;
  Counter run_ns;     ///< in Engine::run(), host time
  Counter halted_ns;  ///< asleep in HLT or waiting for a SIPI, real clock only, host time

  /// Rows of group "exits" and the engine's own.
  void stats(std::vector<StatRow>& rows) const override;

  /// Runs the engine once and counts its exit.
  Exit run(Budget budget);
  /// Whether no maskable interrupt can wake it from the halt it is in: IF is clear, or it waits for a SIPI.
  /// Only while run() is not running.
  bool deaf() const;

 private:
  void trace_exit(const Exit& exit) const;
};

/// The outcome that an exit means for the whole machine, if any.
std::optional<Outcome> outcome_of(const VcpuSlot& slot, const Exit& exit);

}  // namespace vellum
