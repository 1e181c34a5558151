// The I/O APIC: registers, edges and levels, remote IRR and EOI, polarity (82093AA data sheet).
#include "irq/ioapic.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

class IoApicTest : public ApicTest {
 protected:
  static constexpr u64 kActiveLow = 1u << 13, kRemoteIrr = 1u << 14, kLevel = 1u << 15, kMasked = 1u << 16;

  IoApicTest() { enable(); }

  u32 read_reg(u32 index) {
    io.write(0x00, 4, index);
    return static_cast<u32>(io.read(0x10, 4));
  }
  void write_reg(u32 index, u32 value) {
    io.write(0x00, 4, index);
    io.write(0x10, 4, value);
  }
  u64 entry(unsigned pin) { return read_reg(0x10 + 2 * pin) | u64{read_reg(0x11 + 2 * pin)} << 32; }
  void set_entry(unsigned pin, u64 value) {
    write_reg(0x11 + 2 * pin, static_cast<u32>(value >> 32));
    write_reg(0x10 + 2 * pin, static_cast<u32>(value));
  }
  /// Takes and ends the next interrupt; its vector or -1.
  int take() {
    const int vector = apic().acknowledge();
    if (vector >= 0) write(reg::kEoi, 0);
    return vector;
  }

  static constexpr unsigned kLowPin = 20;
  IoApic io{bus, 1u << kLowPin};
};

TEST_F(IoApicTest, HasTheRegistersOfVersion20) {
  EXPECT_EQ(read_reg(0), 0u);
  EXPECT_EQ(read_reg(1), 0x0017'0020u);
  for (unsigned pin = 0; pin < IoApic::kPins; ++pin) EXPECT_EQ(entry(pin), kMasked);
  EXPECT_EQ(read_reg(0x40), 0u) << "no such register";
}

TEST_F(IoApicTest, KeepsOnlyTheWritableBits) {
  write_reg(0, 0xffff'ffff);
  set_entry(3, ~u64{0});

  EXPECT_EQ(read_reg(0), 0x0f00'0000u);
  EXPECT_EQ(read_reg(2), 0x0f00'0000u) << "the arbitration id follows";
  EXPECT_EQ(entry(3), 0xff00'0000'0001'afffu);
}

TEST_F(IoApicTest, IowinTakesWholeRegistersOnly) {
  io.write(0x00, 4, 0);
  io.write(0x10, 1, 0xff);
  io.write(0x10, 2, 0xffff);

  EXPECT_EQ(read_reg(0), 0u);
}

TEST_F(IoApicTest, AnEdgeIsOneInterrupt) {
  set_entry(4, 0x44);

  io.set_pin(4, true);
  io.set_pin(4, true);
  EXPECT_EQ(take(), 0x44);
  EXPECT_EQ(take(), -1);
  io.set_pin(4, false);
  io.set_pin(4, true);
  EXPECT_EQ(take(), 0x44);
}

TEST_F(IoApicTest, AnEdgeWhileMaskedIsLost) {
  set_entry(4, kMasked | 0x44);
  io.set_pin(4, true);

  set_entry(4, 0x44);

  EXPECT_EQ(take(), -1);
}

TEST_F(IoApicTest, ALevelRepeatsAfterEachEoi) {
  set_entry(9, kLevel | 0x49);

  io.set_pin(9, true);
  EXPECT_EQ(entry(9) & kRemoteIrr, kRemoteIrr);
  ASSERT_EQ(apic().acknowledge(), 0x49);
  EXPECT_EQ(apic().acknowledge(), -1) << "remote IRR holds it back";
  write(reg::kEoi, 0);
  ASSERT_EQ(apic().acknowledge(), 0x49) << "still asserted";
  io.set_pin(9, false);
  write(reg::kEoi, 0);

  EXPECT_EQ(apic().acknowledge(), -1);
  EXPECT_EQ(entry(9) & kRemoteIrr, 0u);
}

TEST_F(IoApicTest, ALevelWhileMaskedIsSeenOnUnmasking) {
  set_entry(9, kLevel | kMasked | 0x49);
  io.set_pin(9, true);
  EXPECT_EQ(take(), -1);

  set_entry(9, kLevel | 0x49);

  EXPECT_EQ(take(), 0x49);
}

TEST_F(IoApicTest, ALevelNobodyAcceptedIsTriedAgain) {
  write(reg::kSvr, 0xff);
  set_entry(9, kLevel | 0x49);
  io.set_pin(9, true);
  EXPECT_EQ(entry(9) & kRemoteIrr, 0u);

  enable();
  set_entry(9, kLevel | 0x49);

  EXPECT_EQ(take(), 0x49);
}

TEST_F(IoApicTest, TheEoiRegisterEndsALevelWithoutTheLocalApic) {
  set_entry(9, kLevel | 0x49);
  io.set_pin(9, true);
  io.set_pin(9, false);

  io.write(0x40, 4, 0x48);
  EXPECT_EQ(entry(9) & kRemoteIrr, kRemoteIrr) << "another vector";
  io.write(0x40, 4, 0x49);

  EXPECT_EQ(entry(9) & kRemoteIrr, 0u);
}

TEST_F(IoApicTest, AnEoiEndsAllPinsOfTheVector) {
  set_entry(9, kLevel | 0x49);
  set_entry(10, kLevel | 0x49);
  io.set_pin(9, true);
  io.set_pin(10, true);

  ASSERT_EQ(apic().acknowledge(), 0x49);
  io.set_pin(9, false);
  io.set_pin(10, false);
  write(reg::kEoi, 0);

  EXPECT_EQ((entry(9) | entry(10)) & kRemoteIrr, 0u);
}

TEST_F(IoApicTest, SwitchingToEdgeClearsRemoteIrr) {
  set_entry(9, kLevel | 0x49);
  io.set_pin(9, true);

  set_entry(9, kMasked | 0x49);

  EXPECT_EQ(entry(9) & kRemoteIrr, 0u);
}

TEST_F(IoApicTest, PolarityMustMatchTheWire) {
  set_entry(5, kActiveLow | 0x45);        // the wire is active high
  set_entry(kLowPin, kActiveLow | 0x46);  // and this one active low

  io.set_pin(5, true);
  io.set_pin(kLowPin, true);
  EXPECT_EQ(take(), 0x46);
  EXPECT_EQ(take(), -1);
  io.set_pin(5, false);  // to the programmed polarity that is the edge
  EXPECT_EQ(take(), 0x45);
}

TEST_F(IoApicTest, AWronglyProgrammedLevelIsActiveWhenIdle) {
  set_entry(5, kActiveLow | kLevel | 0x45);

  EXPECT_EQ(take(), 0x45);
  EXPECT_EQ(take(), 0x45);
}

TEST_F(IoApicTest, SendsToWhomTheEntrySays) {
  add_processor(1);
  enable(1);
  write(reg::kLdr, 0x0200'0000, 1);
  set_entry(6, u64{1} << 56 | 0x46);
  set_entry(7, u64{2} << 56 | 0x800 | 0x47);
  set_entry(8, u64{1} << 56 | 0x400);

  io.set_pin(6, true);
  io.set_pin(7, true);
  io.set_pin(8, true);

  EXPECT_TRUE(irr(0x46, 1));
  EXPECT_TRUE(irr(0x47, 1));
  EXPECT_FALSE(irr(0x46, 0));
  EXPECT_EQ(core(1).nmis, 1);
}

TEST_F(IoApicTest, RoundTripsWithAnInterruptInService) {
  set_entry(9, kLevel | 0x49);
  write_reg(0, 0x0500'0000);
  io.set_pin(9, true);
  ASSERT_EQ(apic().acknowledge(), 0x49);

  const auto state = decode_state<IoApic::State>(io.save());
  ASSERT_TRUE(state) << state.error().message;
  io.set_pin(9, false);
  IoApic other(bus, 1u << kLowPin, *state);
  EXPECT_EQ(*decode_state<IoApic::State>(other.save()), *state);
  write(reg::kEoi, 0);

  EXPECT_EQ(take(), 0x49) << "the restored one still has its input asserted";
}

struct Programmed final : RemoteApics {
  bool post(const ApicMessage&) override { return true; }
  void pin_programmed(unsigned pin, const ApicMessage& message) override { pins[pin] = message; }
  void set_lint0(bool) override {}
  std::array<ApicMessage, IoApic::kPins> pins;
};

TEST_F(IoApicTest, RemoteApicsLearnWhatEachInputSends) {
  ApicBus elsewhere;
  Programmed remote;
  elsewhere.attach(remote);
  IoApic::State state;
  state.redirection[5] = kLevel | 0x35 | u64{2} << 56;

  IoApic restored(elsewhere, 0, state);
  restored.write(0x00, 4, 0x10 + 2 * 9);
  restored.write(0x10, 4, kLevel | kMasked | 0x39);

  EXPECT_TRUE(remote.pins[5].level_triggered);
  EXPECT_EQ(remote.pins[5].vector, 0x35);
  EXPECT_EQ(remote.pins[5].destination, 2u);
  EXPECT_EQ(remote.pins[9].vector, 0x39) << "masked: one that is in service has its EOI still to come";
}

}  // namespace
}  // namespace vellum::test
