// An engine whose exits a test scripts.
#pragma once

#include <functional>

#include "cpu/engine.hpp"
#include "cpu/hazard.hpp"

namespace vellum {

class FakeEngine final : public Engine {
 public:
  using Script = std::function<Exit(FakeEngine&, Budget)>;
  explicit FakeEngine(Script script) : script_(std::move(script)) {}

  Exit run(Budget budget) override { return script_(*this, budget); }
  void pull(StateMask, VcpuState& to) override {
    to.rflags = rflags;
    to.activity = activity;
  }
  void push(StateMask, const VcpuState& from) override { rflags = from.rflags; }
  void invalidate(GuestPhysRange) override {}
  u64 retired() const override { return step_count; }
  u64 steps() const override { return step_count; }
  void stats(std::vector<StatRow>&) const override {}

  Exit spend(Budget budget) {
    step_count += budget.steps;
    return exit::BudgetSpent{};
  }

  u64 step_count = 0;
  u64 rflags = 0x202;  // IF
  Activity activity = Activity::kRunning;

 private:
  Script script_;
};

}  // namespace vellum
