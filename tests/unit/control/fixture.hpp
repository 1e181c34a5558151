// A vCPU with 4 MiB of RAM and a board that records, put into each mode by hand.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>

#include "cpu/system/control.hpp"
#include "x86/msr.hpp"

namespace vellum::test {

using namespace x86;

class RecordingBoard final : public VcpuBoard {
 public:
  int acknowledge_interrupt() override { return -1; }
  bool read_apic_msr(u32 index, u64& value) override {
    const auto entry = msrs.find(index);
    if (entry == msrs.end()) return false;
    value = entry->second;
    return true;
  }
  bool write_apic_msr(u32 index, u64 value) override {
    if (msrs.count(index) == 0) return false;
    msrs[index] = value;
    return true;
  }
  u64 apic_page() const override { return 0xfee00000; }
  u64 read_apic_page(u32, unsigned) override { return 0; }
  void write_apic_page(u32, unsigned, u64) override {}
  u8 read_cr8() override { return cr8; }
  void write_cr8(u8 value) override { cr8 = value; }
  u32 apic_id() const override { return 3; }
  u32 cpu_count() const override { return 4; }

  u8 cr8 = 0;
  std::map<u32, u64> msrs{
      {msr::kApicBase, 0xfee00900}, {msr::kTscDeadline, 0}, {msr::kX2apicFirst + 2, 0x30000}};
};

/// A host with every feature, so that the models are the same on every machine.
inline CpuModel test_model(std::string_view name, std::string vendor = "GenuineIntel") {
  HostCpu host;
  host.vendor = std::move(vendor);
  host.features.set();
  return *CpuModel::create_on(name, host);
}

class ControlTest : public testing::Test {
 protected:
  // Physical: paging structures, then two pages that the tests map in turn, then a TSS.
  static constexpr u64 kPml4 = 0x1000, kPdpt = 0x2000, kPd = 0x3000, kPt = 0x4000, kPdHigh = 0x5000;
  static constexpr u64 kPageA = 0x100000, kPageB = 0x101000, kTss = 0x8000;
  static constexpr u64 kValueA = 0xaaaa, kValueB = 0xbbbb;
  // Linear: a page and a global page that start at kPageA.
  static constexpr u64 kLinear = 0x40000000, kGlobalLinear = 0x40001000;

  explicit ControlTest(std::string_view model_name = "x86-64-v3") : model(test_model(model_name)) {
    v = std::make_unique<Vcpu>(0, space, board, clock, model, hazards);
    v->state = reset_state(true);
    resync(*v);
  }

  void put64(u64 address, u64 value) { ASSERT_TRUE(space.write(GuestPhys(address), bytes_of(value))); }

  /// Protected mode without paging, flat 32-bit segments, CPL 0.
  void enter_protected() {
    VcpuState& s = v->state;
    s.cr0 |= cr0::kPe;
    for (Segment& segment : s.seg) segment = {.attributes = 0xc093, .limit = 0xffffffff};
    s.segment(Seg::kCs).attributes = 0xc09b;
    resync(*v);
  }

  /// 64-bit mode under 4-level paging: the first 4 MiB mapped one to one, kLinear and kGlobalLinear to
  /// kPageA.
  void enter_long() {
    enter_protected();
    put64(kPml4, kPdpt | 7);
    put64(kPdpt, kPd | 7);
    put64(kPd, 0x87);
    put64(kPd + 8, 0x200087);
    put64(kPdpt + 8, kPdHigh | 7);
    put64(kPdHigh, kPt | 7);
    put64(kPageA, kValueA);
    put64(kPageB, kValueB);
    map_to(kPageA);
    VcpuState& s = v->state;
    s.cr3 = kPml4;
    s.cr4 = cr4::kPae | cr4::kPge;
    s.msr.efer = efer::kLme | efer::kLma;
    s.cr0 |= cr0::kPg;
    s.segment(Seg::kCs).attributes = 0xa09b;
    resync(*v);
  }
  void map_to(u64 page) {
    put64(kPt, page | 7);
    put64(kPt + 8, page | 0x107);
  }

  void set_cpl(u8 cpl) {
    v->state.cpl = cpl;
    v->mmu.update_context();
  }
  void enter_v86() {
    enter_protected();
    v->state.rflags |= rflags::kVm;
    set_cpl(3);
  }

  u64 load(u64 linear) {
    u64 value = 0;
    EXPECT_TRUE(v->mmu.read_as(Privilege::kSupervisor, linear, 8, value));
    return value;
  }
  /// Fills the TLB with both pages, then lets the page tables say otherwise.
  void make_stale() {
    EXPECT_EQ(load(kLinear), kValueA);
    EXPECT_EQ(load(kGlobalLinear), kValueA);
    map_to(kPageB);
  }
  bool flushed() { return load(kLinear) == kValueB; }
  bool global_flushed() { return load(kGlobalLinear) == kValueB; }

  /// Asserts that an operation that returned `ok` raised `vector`, with error code 0 if it has one.
  void expect_fault(bool ok, u8 vector) {
    ASSERT_FALSE(ok);
    EXPECT_EQ(v->fault.vector, vector);
    EXPECT_EQ(v->fault.kind, EventKind::kFault);
    EXPECT_EQ(v->fault.has_error_code, vector_has_error_code(vector));
    EXPECT_EQ(v->fault.error_code, 0u);
  }
  void expect_gp(bool ok) { expect_fault(ok, kGp); }
  void expect_ud(bool ok) { expect_fault(ok, kUd); }

  static std::span<const u8> bytes_of(const u64& value) { return {reinterpret_cast<const u8*>(&value), 8}; }

  std::unique_ptr<GuestRam> ram = *GuestRam::create(4 << 20);
  Bus mmio{"mmio"}, ports{"ports"};
  AddressSpace space{*ram, mmio, ports};
  RecordingBoard board;
  VirtualClock clock;
  Hazards hazards;
  CpuModel model;
  std::unique_ptr<Vcpu> v;
};

}  // namespace vellum::test
