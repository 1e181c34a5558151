// A vCPU without a board: no interrupts, no local APIC. For looking at memory through a vCPU's page tables,
// and for tests of what needs no board.
#pragma once

#include "cpu/vcpu_board.hpp"

namespace vellum {

class BareBoard : public VcpuBoard {
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

}  // namespace vellum
