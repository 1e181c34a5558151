// Runs cases on an engine: user-mode code of a small guest whose every exception handler is HLT.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>

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
  /// `engine`: "interp", "bt", or "bt-flat" (bt with flat tables; kUnsupported where the host has none).
  /// `unit`: bt's longest.
  static Result<std::unique_ptr<EngineRunner>> create(std::string_view engine, unsigned unit = 1);
  void run(const Case& c, Outcome& outcome) { run(c, std::span(c.code).first(c.length), 1, outcome); }
  /// Runs `code` instead of the case's, for so many instructions.
  void run(const Case& c, std::span<const u8> code, u64 instructions, Outcome& outcome);
  /// From now on every run of the engine is what `around` makes of it: it is given the run, and calls it.
  /// Code that is the same as before then stays where it is, so that the engine need not decode it again.
  using Around = std::function<void(const std::function<void()>& run)>;
  void set_around(Around around) { around_ = std::move(around); }
  /// The data pages, from kReadWrite on.
  u8* data();
  u64 retired() const { return engine_->retired(); }
  /// How often translated code has been entered; 0 for an engine that has none.
  u64 entries() const;

 private:
  EngineRunner(std::string_view engine, unsigned unit, std::unique_ptr<GuestRam> ram, x86::CpuModel model);
  std::optional<u64> stat(std::string_view name) const;
  void build_guest();
  void put_code(u64 offset, std::span<const u8> bytes);
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
  Around around_;
  VcpuState base_;  ///< the guest's state apart from a case's registers
};

}  // namespace vellum::differential
