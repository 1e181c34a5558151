// Runs cases on an engine: user-mode code of a small guest whose every exception handler is HLT.
#pragma once

#include <memory>

#include "base/clock.hpp"
#include "case.hpp"
#include "cpu/engine.hpp"
#include "cpu/hazard.hpp"
#include "cpu/vcpu_board.hpp"
#include "memory/address_space.hpp"
#include "x86/cpu_model.hpp"

namespace vellum::differential {

/// A board without devices.
class BareBoard final : public VcpuBoard {
 public:
  int acknowledge_interrupt() override { return -1; }
  bool read_apic_msr(u32, u64&) override { return false; }
  bool write_apic_msr(u32, u64) override { return false; }
  u64 apic_page() const override { return ~u64{0}; }
  u64 read_apic_page(u32, unsigned) override { return 0; }
  void write_apic_page(u32, unsigned, u64) override {}
  u8 read_cr8() override { return 0; }
  void write_cr8(u8) override {}
  u32 apic_id() const override { return 0; }
};

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
