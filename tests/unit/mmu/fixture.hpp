// A vCPU's memory system on the bench: RAM, empty buses, a board with an xAPIC page that records accesses,
// and paging structures built by hand, in terms of the SDM's figures and not of the walker's formats.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <utility>
#include <vector>

#include "cpu/mmu/mmu.hpp"
#include "x86/exception.hpp"
#include "x86/registers.hpp"

namespace vellum::test {

enum class Mode { kUnpaged, k32Bit, kPae, k4Level };

// Entry bits, as the SDM's figures 4-4, 4-7 and 4-11 draw them.
inline constexpr u64 kP = 1, kRw = 2, kUs = 4, kPcd = 0x10, kA = 0x20, kD = 0x40, kPs = 0x80, kG = 0x100;
inline constexpr u64 kXd = u64{1} << 63;

class FakeBoard final : public VcpuBoard {
 public:
  int acknowledge_interrupt() override { return -1; }
  bool read_apic_msr(u32, u64&) override { return false; }
  bool write_apic_msr(u32, u64) override { return false; }
  u64 apic_page() const override { return page; }
  u64 read_apic_page(u32 offset, unsigned size) override {
    reads.push_back({offset, size});
    return 0x1122334455667788 & low_mask(8 * size);
  }
  void write_apic_page(u32 offset, unsigned size, u64 value) override {
    writes.push_back({offset, size, value});
  }
  u8 read_cr8() override { return 0; }
  void write_cr8(u8) override {}
  u32 apic_id() const override { return 0; }

  struct Read {
    u64 offset;
    unsigned size;
    bool operator==(const Read&) const = default;
  };
  struct Write {
    u64 offset;
    unsigned size;
    u64 value;
    bool operator==(const Write&) const = default;
  };
  u64 page = 0xfee00000;
  std::vector<Read> reads;
  std::vector<Write> writes;
};

/// A device of plain bytes that records how it was accessed.
class FakeDevice final : public BusDevice {
 public:
  explicit FakeDevice(std::size_t size) : bytes(size) {}
  u64 read(u64 offset, unsigned size) override {
    reads.push_back({offset, size});
    u64 value = 0;
    for (unsigned i = 0; i < size; ++i) value |= u64{bytes.at(offset + i)} << (8 * i);
    return value;
  }
  void write(u64 offset, unsigned size, u64 value) override {
    writes.push_back({offset, size, value});
    for (unsigned i = 0; i < size; ++i) bytes.at(offset + i) = static_cast<u8>(value >> (8 * i));
  }
  std::vector<u8> bytes;
  std::vector<FakeBoard::Read> reads;
  std::vector<FakeBoard::Write> writes;
};

struct Machine {
  static constexpr u64 kRamSize = u64{16} << 20;
  static constexpr u64 kBlockRoom = 0x10000;  ///< memory that is not RAM
  static constexpr u64 kRoot = 0x10000;       ///< the top paging structure; others follow

  explicit Machine(Mode paging = Mode::k4Level, u32 stamp_limit = ~u32{0});

  /// Sets the control registers for `paging`, an empty top structure and CPL 0, and flushes.
  void enter(Mode paging);

  /// Maps the page of `linear` to `physical` with the leaf's `flags` (kP is added); structures on the way
  /// permit everything. `level` of the leaf: 0 a 4 KiB page, 1 a 2 or 4 MiB page, 2 a 1 GiB page.
  void map(u64 linear, u64 physical, u64 flags = kRw | kUs, unsigned level = 0);
  /// Where the entry of `linear` stands in the structure of `level`; structures above are made if absent.
  GuestPhys entry_at(u64 linear, unsigned level);
  u64 entry(u64 linear, unsigned level);
  void set_entry(u64 linear, unsigned level, u64 value) { write_entry(entry_at(linear, level).value, value); }
  /// Writes a paging-structure entry of the mode's width at a guest-physical address.
  void write_entry(u64 at, u64 value) {
    entry_bytes() == 4 ? poke<u32>(at, static_cast<u32>(value)) : poke<u64>(at, value);
  }

  void set_cpl(u8 cpl) {
    state.cpl = cpl;
    mmu.update_context();
  }
  void set_bit(u64& reg, u64 mask, bool on) { reg = on ? reg | mask : reg & ~mask; }

  template <class T>
  T peek(u64 physical) const {
    return guest_load<T>(ram->host(GuestPhys(physical)));
  }
  template <class T>
  void poke(u64 physical, T value) {
    guest_store<T>(ram->host(GuestPhys(physical)), value);
  }
  /// The value read, or a test failure.
  template <class T>
  T get(u64 linear) {
    T value = 0;
    EXPECT_TRUE(mmu.read<T>(linear, value)) << "fault " << unsigned{fault.vector} << " at " << fault.address;
    return value;
  }

  unsigned entry_bytes() const { return mode == Mode::k32Bit ? 4 : 8; }
  unsigned index_bits() const { return mode == Mode::k32Bit ? 10 : 9; }
  unsigned top_level() const { return mode == Mode::k4Level ? 3 : mode == Mode::kPae ? 2 : 1; }

  Mode mode = Mode::kUnpaged;
  std::unique_ptr<GuestRam> ram;
  Bus mmio{"mmio"}, ports{"ports"};
  AddressSpace space;
  FakeBoard board;
  VcpuState state;
  x86::Exception fault;
  Mmu mmu;

 private:
  u64 next_table_ = 0;
};

/// Expects that `done` is false and that the fault is a #PF at `address` with `error_code`.
void expect_page_fault(const Machine& m, bool done, u64 address, u32 error_code);
/// Expects that `done` is false and that the fault is `vector` with error code 0.
void expect_fault(const Machine& m, bool done, u8 vector);

}  // namespace vellum::test
