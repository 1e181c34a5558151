// A vCPU on the bench with descriptor tables, task-state segments, stacks and page tables in 4 MiB of RAM,
// put straight into any mode and privilege level. Everything is identity-mapped, so a linear address is a
// place in RAM.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "cpu/system/vcpu.hpp"

namespace vellum::test {

class InterruptBoard final : public VcpuBoard {
 public:
  explicit InterruptBoard(Hazards& hazards) : hazards_(hazards) {}
  int acknowledge_interrupt() override;
  bool read_apic_msr(u32, u64&) override { return false; }
  bool write_apic_msr(u32, u64) override { return false; }
  u64 apic_page() const override { return ~u64{0}; }
  u64 read_apic_page(u32, unsigned) override { return 0; }
  void write_apic_page(u32, unsigned, u64) override {}
  u8 read_cr8() override { return 0; }
  void write_cr8(u8) override {}
  u32 apic_id() const override { return 0; }

  /// Makes `vector` pending.
  void request(u8 vector);

 private:
  Hazards& hazards_;
  std::deque<u8> vectors_;
};

// Selectors of the GDT that every bench starts with. The digit is the DPL.
enum Selector : u16 {
  kCode0 = 0x08,
  kData0 = 0x10,
  kCode3 = 0x18,
  kData3 = 0x20,
  kCode64 = 0x28,
  kCode64User = 0x30,
  kConforming0 = 0x38,
  kCode16 = 0x40,
  kStack16 = 0x48,
  kCode1 = 0x50,
  kData1 = 0x58,
  kTssA = 0x60,  ///< the current TSS; 16 bytes in IA-32e mode
  kTssB = 0x70,
  kLdt = 0x80,
  kConforming3 = 0x90,
  kExecuteOnly = 0x98,
  kReadOnly = 0xa0,
  kAbsentCode = 0xa8,
  kAbsentData = 0xb0,
  kExpandDown = 0xb8,
  kSmallCode = 0xc0,   ///< limit 0xfff
  kSmallStack = 0xc8,  ///< limit 0xfff, DPL 0
  kBadCode64 = 0xd0,   ///< L and D
  kFree = 0xe0,        ///< for the test's own; four slots
};

// Access rights as in x86::Segment::attributes.
namespace ar {
inline constexpr u16 kPresent = 0x80, kCode = 0x1b, kData = 0x13, k32 = 0xc000, k64 = 0xa000, k16 = 0;
constexpr u16 dpl(unsigned n) {
  return static_cast<u16>(n << 5);
}
}  // namespace ar

class Bench {
 public:
  static constexpr u64 kGdt = 0x1000, kIdt = 0x2000, kLdtBase = 0x3000, kTssABase = 0x4000,
                       kTssBBase = 0x5000;
  static constexpr u64 kPageTables = 0x10000;
  static constexpr u64 kStack0 = 0x20000, kStack1 = 0x24000, kStack3 = 0x28000,
                       kIstStack = 0x2c000;  ///< tops
  static constexpr u64 kHandler = 0x30000;
  static constexpr u64 kStart = 0x31000;  ///< RIP to begin with

  Bench();

  // Modes, each with the registers of that privilege level loaded.
  void enter_real();
  void enter_protected(unsigned cpl = 0);
  void enter_protected_16();
  void enter_v86(unsigned iopl = 3);
  void enter_long(unsigned cpl = 0);
  void enter_compatibility(unsigned cpl = 3);
  /// Turns on 32-bit paging in protected mode: identity, 4 KiB pages, user and writable.
  void enable_paging();
  /// Unmaps or changes the 4 KiB page of a linear address (after enable_paging() or enter_long()).
  void map_page(u64 linear, u64 flags);

  // Tables.
  /// The GDT as it was in the beginning.
  void restore_gdt();
  void set_descriptor(u16 selector, u16 attributes, u64 base, u32 limit);
  void set_system(u16 selector, unsigned type, unsigned dpl, u64 base, u32 limit, bool present = true);
  /// A call or task gate in the GDT; 16 bytes in IA-32e mode.
  void set_call_gate(u16 selector, unsigned type, unsigned dpl, u16 target, u64 offset,
                     unsigned parameters = 0);
  void set_gate(u8 vector, unsigned type, u16 target, u64 offset, unsigned dpl = 0, unsigned ist = 0);
  void drop_gate(u8 vector) { set_gate(vector, 0, 0, 0); }
  u64 descriptor(u16 selector);
  unsigned descriptor_type(u16 selector) { return (descriptor(selector) >> 40) & 0x1f; }

  // Memory and stack.
  u64 read(u64 address, unsigned size);
  void write(u64 address, unsigned size, u64 value);
  /// Puts `values` on the current stack, the last one first, `size` bytes each: the first is on top.
  void put_on_stack(unsigned size, std::vector<u64> values);
  /// `count` items of `size` bytes from linear address `address` up.
  std::vector<u64> items(u64 address, unsigned size, unsigned count);

  /// Runs one operation. "ok", or the fault as "#GP(0x18)" or "#UD"; " at target" when it belongs to the
  /// target; " and changed the state" when it did what a fault must not.
  template <class F>
  std::string run(F&& operation) {
    const std::vector<u8> before = encode_state(v.state).bytes;
    const bool ok = operation();
    return outcome(ok, before);
  }

  x86::Segment& seg(x86::Seg s) { return v.state.segment(s); }
  u16 selector(x86::Seg s) { return v.state.segment(s).selector; }
  u64& rsp() { return v.state.gpr[x86::kRsp]; }

 private:
  std::string outcome(bool ok, const std::vector<u8>& before);
  void load(x86::Seg s, u16 selector);
  void load_all(u16 code, u16 data, u64 stack);
  void finish();

  std::unique_ptr<GuestRam> ram_;
  Bus mmio_{"mmio"}, ports_{"ports"};
  AddressSpace space_;
  VirtualClock clock_;
  x86::CpuModel model_;

 public:
  Hazards hazards;
  InterruptBoard board{hazards};
  Vcpu v;
};

}  // namespace vellum::test
