// A vCPU for single instructions: some RAM, 4-level paging with a hole and a read-only page, and the calls
// that decode, bind and run one instruction as the interpreter's unit cache does.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <span>
#include <vector>

#include "cpu/interp/native.hpp"
#include "cpu/system/control.hpp"

namespace vellum::test {

class NoBoard final : public VcpuBoard {
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

/// Linear addresses of the bench's user pages. Neighbours in linear space are not in physical memory.
inline constexpr u64 kData = 0x400000;      ///< 16 pages that may be read and written
inline constexpr u64 kHole = 0x410000;      ///< not present
inline constexpr u64 kReadOnly = 0x411000;  ///< one page
inline constexpr unsigned kDataSize = 0x10000;

struct NativeBench {
  NativeBench();

  /// 64-bit mode with everything enabled; CPL 0.
  void enter_long_mode();
  /// 32-bit protected mode, flat segments, no paging.
  void enter_protected_mode();
  /// Real-address mode, no paging, data segments at 0.
  void enter_real_mode();

  /// Decodes and binds; false if NativeCode does not serve it. `insn.run` is set otherwise.
  bool bind(std::span<const u8> bytes, interp::Insn& insn);
  /// Binds (which must succeed) and runs one instruction at RIP 0x1000.
  interp::Flow run(std::span<const u8> bytes);
  interp::Flow run(std::initializer_list<u8> bytes) { return run(std::span(bytes.begin(), bytes.size())); }
  interp::Flow run(const interp::Insn& insn);

  // Guest-virtual memory behind the MMU's back.
  void poke(u64 linear, std::span<const u8> bytes);
  std::vector<u8> peek(u64 linear, unsigned size);

  static constexpr u64 kRip = 0x1000;
  std::unique_ptr<GuestRam> ram;
  Bus mmio{"mmio"}, ports{"ports"};
  AddressSpace space;
  NoBoard board;
  RealClock clock;
  x86::CpuModel model;
  Hazards hazards;
  std::unique_ptr<Vcpu> vcpu;
  Vcpu& v;
  interp::NativeCode native;
  x86::CodeMode mode = x86::CodeMode::kLong64;
};

/// Expects that `flow` is a fault with this vector and, where the vector has one, error code 0.
void expect_fault(const NativeBench& b, interp::Flow flow, u8 vector);

}  // namespace vellum::test
