// Runs cases on an engine: user-mode code of a small guest whose every exception handler is HLT.
#pragma once

#include <memory>

#include "base/clock.hpp"
#include "case.hpp"
#include "cpu/bare_board.hpp"
#include "cpu/engine.hpp"
#include "cpu/hazard.hpp"
#include "memory/address_space.hpp"
#include "x86/cpu_model.hpp"

namespace vellum::differential {

class EngineRunner {
 public:
  /// `engine`: "interp" or "bt".
  static Result<std::unique_ptr<EngineRunner>> create(std::string_view engine);
  void run(const Case& c, Outcome& outcome);

 private:
  EngineRunner(std::string_view engine, std::unique_ptr<GuestRam> ram, x86::CpuModel model);
  void build_guest();
  void put64(u64 physical, u64 value);
  void load_registers(const Case& c);

  std::unique_ptr<GuestRam> ram_;
  x86::CpuModel model_;
  Bus mmio_{"mmio"}, ports_{"ports"};
  AddressSpace space_;
  BareBoard board_;
  VirtualClock clock_;
  Hazards hazards_;
  std::unique_ptr<Engine> engine_;
  VcpuState base_;  ///< the guest's state apart from a case's registers
};

}  // namespace vellum::differential
