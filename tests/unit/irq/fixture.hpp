// Processors and a clock for interrupt-controller tests.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "irq/local_apic.hpp"

namespace vellum::test {

/// Records what the local APIC asks of its core.
struct Core final : ApicHost {
  bool pending = false;
  int nmis = 0;
  int inits = 0;
  std::vector<u8> sipis;
  void interrupt_pending(bool p) override { pending = p; }
  void nmi() override { ++nmis; }
  void init() override { ++inits; }
  void sipi(u8 vector) override { sipis.push_back(vector); }
};

/// An 8259 that always answers with one vector.
struct FixedExtInt final : ExtIntSource {
  int acknowledged = 0;
  u8 acknowledge() override {
    ++acknowledged;
    return 0x27;
  }
};

struct RecordingListener final : EoiListener {
  std::vector<u8> eois;
  void end_of_interrupt(u8 vector) override { eois.push_back(vector); }
};

/// Page offsets and MSRs of the registers that tests use.
namespace reg {
inline constexpr u32 kId = 0x20, kVersion = 0x30, kTpr = 0x80, kPpr = 0xa0, kEoi = 0xb0, kLdr = 0xd0,
                     kDfr = 0xe0, kSvr = 0xf0, kIsr = 0x100, kTmr = 0x180, kIrr = 0x200, kEsr = 0x280,
                     kIcrLow = 0x300, kIcrHigh = 0x310, kLvtTimer = 0x320, kLvtThermal = 0x330,
                     kLvtPmc = 0x340, kLvtLint0 = 0x350, kLvtLint1 = 0x360, kLvtError = 0x370,
                     kInitialCount = 0x380, kCurrentCount = 0x390, kDivide = 0x3e0, kSelfIpi = 0x3f0;
}
inline constexpr u32 kMsrApicBase = 0x1b, kMsrTscDeadline = 0x6e0;
constexpr u32 x2(u32 page_offset) {
  return 0x800 + page_offset / 16;
}

class ApicTest : public ::testing::Test {
 protected:
  static constexpr u64 kX2apicBase = 0xfee0'0c00;
  static constexpr u32 kEnabledSvr = 0x1ff;

  ApicTest() { add_processor(0); }

  LocalApic& add_processor(u32 id) {
    cores.push_back(std::make_unique<Core>());
    apics.push_back(std::make_unique<LocalApic>(id, clock, bus, *cores.back(), &ext_int, 40,
                                                LocalApic::State::power_up(id == 0)));
    return *apics.back();
  }
  LocalApic& apic(std::size_t i = 0) { return *apics[i]; }
  Core& core(std::size_t i = 0) { return *cores[i]; }
  u32 read(u32 offset, std::size_t i = 0) { return static_cast<u32>(apic(i).read_page(offset, 4)); }
  void write(u32 offset, u32 value, std::size_t i = 0) { apic(i).write_page(offset, 4, value); }
  void enable(std::size_t i = 0) { write(reg::kSvr, kEnabledSvr, i); }
  void enter_x2apic(std::size_t i = 0) {
    u64 base = 0;
    apic(i).read_msr(kMsrApicBase, base);
    ASSERT_TRUE(apic(i).write_msr(kMsrApicBase, base | 0xc00));
  }
  bool irr(u8 vector, std::size_t i = 0) {
    return (read(reg::kIrr + vector / 32 * 16, i) >> vector % 32 & 1) != 0;
  }
  bool isr(u8 vector, std::size_t i = 0) {
    return (read(reg::kIsr + vector / 32 * 16, i) >> vector % 32 & 1) != 0;
  }
  bool tmr(u8 vector, std::size_t i = 0) {
    return (read(reg::kTmr + vector / 32 * 16, i) >> vector % 32 & 1) != 0;
  }
  u64 msr(u32 index, std::size_t i = 0) {
    u64 value = ~u64{0};
    EXPECT_TRUE(apic(i).read_msr(index, value)) << std::hex << index;
    return value;
  }
  void send_fixed(u8 vector, u32 destination = 0) {
    bus.post({.destination = destination, .vector = vector});
  }
  void send_level(u8 vector) { bus.post({.vector = vector, .level_triggered = true}); }
  void advance_to(u64 ns) {
    clock.skip_to(ns);
    clock.run_expired();
  }

  VirtualClock clock;
  ApicBus bus;
  FixedExtInt ext_int;
  std::vector<std::unique_ptr<Core>> cores;
  std::vector<std::unique_ptr<LocalApic>> apics;
};

}  // namespace vellum::test
