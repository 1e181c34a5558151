// Double faults and shutdown (SDM vol. 3A §6.15, table 6-5), what detection records, and pending events
// (§6.7-6.9).
#include "cpu/system/event_class.hpp"
#include "cpu/system/events.hpp"
#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using protection::Combination;
using protection::combine;
using x86::EventKind;
using x86::Exception;
using x86::Seg;
namespace flag = x86::rflags;

Exception fault(u8 vector) {
  return {.vector = vector, .has_error_code = x86::vector_has_error_code(vector)};
}

// --- Table 6-5 -------------------------------------------------------------------------------------------

const std::vector<u8> kBenignVectors{1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19};
const std::vector<u8> kContributoryVectors{0, 10, 11, 12, 13};

std::vector<Combination> combine_all(const std::vector<u8>& first, const std::vector<u8>& second) {
  std::vector<Combination> results;
  for (const u8 a : first)
    for (const u8 b : second) results.push_back(combine(fault(a), fault(b)));
  return results;
}
void expect_all(Combination expected, const std::vector<u8>& first, const std::vector<u8>& second) {
  for (const Combination c : combine_all(first, second)) EXPECT_EQ(c, expected);
}

TEST(DoubleFaultTable, BenignFirst) {
  expect_all(Combination::kSerial, kBenignVectors, kBenignVectors);
  expect_all(Combination::kSerial, kBenignVectors, kContributoryVectors);
  expect_all(Combination::kSerial, kBenignVectors, {14});
}

TEST(DoubleFaultTable, ContributoryFirst) {
  expect_all(Combination::kSerial, kContributoryVectors, kBenignVectors);
  expect_all(Combination::kDoubleFault, kContributoryVectors, kContributoryVectors);
  expect_all(Combination::kSerial, kContributoryVectors, {14});
}

TEST(DoubleFaultTable, PageFaultFirst) {
  expect_all(Combination::kSerial, {14}, kBenignVectors);
  expect_all(Combination::kDoubleFault, {14}, kContributoryVectors);
  expect_all(Combination::kDoubleFault, {14}, {14});
}

TEST(DoubleFaultTable, DoubleFaultFirst) {
  expect_all(Combination::kSerial, {8}, kBenignVectors);
  expect_all(Combination::kShutdown, {8}, kContributoryVectors);
  expect_all(Combination::kShutdown, {8}, {14});
}

TEST(DoubleFaultTable, InterruptsAreBenignWhateverTheirVector) {
  EXPECT_EQ(combine({.vector = 13, .kind = EventKind::kInterrupt}, fault(13)), Combination::kSerial);
  EXPECT_EQ(combine({.vector = 14, .kind = EventKind::kSoftwareInterrupt}, fault(14)), Combination::kSerial);
}

// --- In the machine --------------------------------------------------------------------------------------

struct Events : testing::Test {
  Events() {
    b.enter_long(0);
    for (const u8 vector : {x86::kDe, x86::kDb, x86::kNmi, x86::kUd, x86::kDf, x86::kTs, x86::kNp, x86::kSs,
                            x86::kGp, x86::kPf})
      b.set_gate(vector, x86::kInterruptGate32, kCode64, handler(vector));
    b.set_gate(0x40, x86::kInterruptGate32, kCode64, handler(0x40));
  }
  static u64 handler(u8 vector) { return Bench::kHandler + vector * 16u; }
  std::string deliver(const Exception& e) { return deliver_event(b.v, e).value_or("delivered"); }
  std::string pending() { return deliver_pending(b.v).value_or("ok"); }
  u64 rip() { return b.v.state.rip; }
  Bench b;
};

TEST_F(Events, FaultInDeliveryOfABenignEventTakesItsPlace) {
  b.drop_gate(x86::kUd);
  EXPECT_EQ(deliver(fault(x86::kUd)), "delivered");
  EXPECT_EQ(rip(), handler(x86::kGp)) << "a gate of type 0";
  EXPECT_EQ(b.read(b.rsp(), 8), x86::kUd * 8u + 3) << "IDT and EXT";
}

TEST_F(Events, TwoContributoryFaultsMakeADoubleFault) {
  b.drop_gate(x86::kGp);
  EXPECT_EQ(deliver(fault(x86::kGp)), "delivered");
  EXPECT_EQ(rip(), handler(x86::kDf));
  EXPECT_EQ(b.read(b.rsp(), 8), 0u);
  EXPECT_EQ(b.read(b.rsp() + 8, 8), Bench::kStart);
}

TEST_F(Events, PageFaultDuringAPageFaultMakesADoubleFault) {
  b.set_gate(x86::kDf, x86::kInterruptGate32, kCode64, handler(x86::kDf), 0, 1);
  b.map_page(Bench::kStack0 - 0x1000, 0);
  EXPECT_EQ(deliver({.vector = x86::kPf, .has_error_code = true, .error_code = 2, .address = 0x1234000}),
            "delivered");
  EXPECT_EQ(rip(), handler(x86::kDf));
  EXPECT_EQ(b.v.state.cr2, Bench::kStack0 - 8) << "of the second page fault";
}

TEST_F(Events, PageFaultDuringAContributoryFaultIsServedFirst) {
  b.set_gate(x86::kPf, x86::kInterruptGate32, kCode64, handler(x86::kPf), 0, 1);
  b.map_page(Bench::kStack0 - 0x1000, 0);
  EXPECT_EQ(deliver(fault(x86::kGp)), "delivered");
  EXPECT_EQ(rip(), handler(x86::kPf));
  EXPECT_EQ(b.v.state.cr2, Bench::kStack0 - 8);
}

TEST_F(Events, TripleFaultShutsDownAndSaysWhy) {
  b.drop_gate(x86::kPf);
  b.drop_gate(x86::kDf);
  EXPECT_EQ(deliver({.vector = x86::kPf, .has_error_code = true, .error_code = 2, .address = 0xdead000}),
            "triple fault: #PF(0x2, address 0xdead000), #GP(0x73), #DF(0x0), #GP(0x43); at 0028:31000, CR2 "
            "0xdead000");
  EXPECT_EQ(b.v.state.activity, Activity::kShutdown);
}

TEST_F(Events, EmptyIdtShutsDown) {
  b.v.state.idtr = {.base = 0, .limit = 0};
  EXPECT_EQ(deliver(fault(x86::kUd)),
            "triple fault: #UD, #GP(0x33), #GP(0x6b), #DF(0x0), #GP(0x43); at 0028:31000, CR2 0x0");
  EXPECT_EQ(rip(), Bench::kStart);
}

TEST_F(Events, PageFaultSetsCr2AndDebugSetsDr6) {
  EXPECT_EQ(deliver({.vector = x86::kPf, .has_error_code = true, .address = 0x7fff0000}), "delivered");
  EXPECT_EQ(b.v.state.cr2, 0x7fff0000u);
  b.v.state.dr6 = x86::dr6::kFixed1 | 2;
  EXPECT_EQ(deliver({.vector = x86::kDb, .kind = EventKind::kTrap, .address = x86::dr6::kBs | 1}),
            "delivered");
  EXPECT_EQ(b.v.state.dr6, x86::dr6::kFixed1 | x86::dr6::kBs | 3);
}

TEST_F(Events, SoftwareInterrupt14LeavesCr2Alone) {
  b.v.state.cr2 = 0x1000;
  EXPECT_EQ(deliver({.vector = 14, .kind = EventKind::kSoftwareInterrupt}), "delivered");
  EXPECT_EQ(b.v.state.cr2, 0x1000u);
}

// --- Pending events --------------------------------------------------------------------------------------

TEST_F(Events, NothingPending) {
  EXPECT_FALSE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), Bench::kStart);
}

TEST_F(Events, ExternalInterruptWaitsForIf) {
  b.board.request(0x40);
  EXPECT_FALSE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), Bench::kStart);
  b.v.state.rflags |= flag::kIf;
  EXPECT_TRUE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), handler(0x40));
  EXPECT_FALSE(b.hazards.test(Hazards::kInterrupt));
}

TEST_F(Events, ShadowsHoldInterruptsOff) {
  b.board.request(0x40);
  b.v.state.rflags |= flag::kIf;
  b.v.state.shadow_sti = true;
  EXPECT_FALSE(event_deliverable(b.v));
  b.v.state.shadow_sti = false;
  b.v.state.shadow_mov_ss = true;
  EXPECT_FALSE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), Bench::kStart);
}

TEST_F(Events, SpuriousInterruptRequest) {
  b.hazards.set(Hazards::kInterrupt);
  b.v.state.rflags |= flag::kIf;
  b.v.state.activity = Activity::kHalted;
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(b.v.state.activity, Activity::kHalted);
  EXPECT_EQ(rip(), Bench::kStart);
}

TEST_F(Events, InterruptWakesAHaltedProcessor) {
  b.board.request(0x40);
  b.v.state.rflags |= flag::kIf;
  b.v.state.activity = Activity::kHalted;
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(b.v.state.activity, Activity::kRunning);
}

TEST_F(Events, NmiIgnoresIfAndBlocksTheNext) {
  b.hazards.set(Hazards::kNmi);
  b.v.state.activity = Activity::kHalted;
  EXPECT_TRUE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), handler(x86::kNmi));
  EXPECT_TRUE(b.v.state.nmi_blocked);
  EXPECT_EQ(b.v.state.activity, Activity::kRunning);
  b.hazards.set(Hazards::kNmi);
  EXPECT_FALSE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_TRUE(b.hazards.test(Hazards::kNmi)) << "stays latched";
  b.v.state.nmi_blocked = false;
  EXPECT_TRUE(event_deliverable(b.v));
}

TEST_F(Events, NmiWaitsForTheMovSsShadowAndGoesBeforeInterrupts) {
  b.hazards.set(Hazards::kNmi);
  b.board.request(0x40);
  b.v.state.rflags |= flag::kIf;
  b.v.state.shadow_mov_ss = true;
  EXPECT_FALSE(event_deliverable(b.v));
  b.v.state.shadow_mov_ss = false;
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), handler(x86::kNmi));
}

TEST_F(Events, NmiFromASavedState) {
  b.v.state.nmi_pending = true;
  EXPECT_TRUE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), handler(x86::kNmi));
  EXPECT_FALSE(b.v.state.nmi_pending);
}

TEST_F(Events, InitResetsAndSipiStarts) {
  b.v.index = 1;
  b.hazards.set(Hazards::kInit);
  b.hazards.sipi_vector = 0x9a;
  b.hazards.set(Hazards::kSipi);
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(b.v.state.activity, Activity::kWaitForSipi);
  EXPECT_TRUE(b.v.state.real_mode());
  EXPECT_TRUE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(b.v.state.activity, Activity::kRunning);
  EXPECT_EQ(b.seg(Seg::kCs).base, 0x9a000u);
  EXPECT_EQ(b.v.state.rip, 0u);
  u32 value = 0;
  EXPECT_TRUE(b.v.mmu.read<u32>(0x500, value)) << "the MMU is back to physical addresses";
}

TEST_F(Events, InitOfTheBootstrapProcessorRestartsIt) {
  b.v.state.activity = Activity::kShutdown;
  EXPECT_FALSE(event_deliverable(b.v));
  b.hazards.set(Hazards::kInit);
  EXPECT_TRUE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(b.v.state.activity, Activity::kRunning);
  EXPECT_EQ(b.v.state.rip, 0xfff0u);
}

TEST_F(Events, WaitingForSipiIgnoresEverythingElse) {
  b.v.state.activity = Activity::kWaitForSipi;
  b.v.state.rflags |= flag::kIf;
  b.board.request(0x40);
  b.hazards.set(Hazards::kNmi);
  EXPECT_FALSE(event_deliverable(b.v));
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), Bench::kStart);
  EXPECT_EQ(b.v.state.activity, Activity::kWaitForSipi);
}

TEST_F(Events, SipiToARunningProcessorIsLost) {
  b.hazards.set(Hazards::kSipi);
  EXPECT_EQ(pending(), "ok");
  EXPECT_EQ(rip(), Bench::kStart);
  EXPECT_FALSE(b.hazards.test(Hazards::kSipi));
}

TEST_F(Events, TripleFaultFromAPendingEvent) {
  b.v.state.rflags |= flag::kIf;
  b.v.state.idtr.limit = 0;
  b.board.request(0x40);
  EXPECT_EQ(
      pending(),
      "triple fault: interrupt 0x40, #GP(0x203), #GP(0x6b), #DF(0x0), #GP(0x43); at 0028:31000, CR2 0x0");
}

}  // namespace
}  // namespace vellum::test
