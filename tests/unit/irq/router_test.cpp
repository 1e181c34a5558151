// Wires from devices to the two interrupt controllers, and the 8259's way to the processor.
#include "irq/router.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

class RouterTest : public ::testing::Test {
 protected:
  RouterTest() {
    apic.enter_virtual_wire_mode();
    for (const u8 value : {0x11, 0x20, 0x04, 0x01}) pic.write(value == 0x11 ? 0 : 1, 1, value);
    for (const u8 value : {0x11, 0x28, 0x02, 0x01}) pic.write(value == 0x11 ? 2 : 3, 1, value);
  }
  void mask_pic() {
    pic.write(1, 1, 0xff);
    pic.write(3, 1, 0xff);
  }
  void unmask(unsigned pin, u8 vector, bool level = false) {
    io.write(0, 4, 0x10 + 2 * pin);
    io.write(0x10, 4, vector | (level ? 0x8000u : 0u));
  }
  int take() {
    const int vector = apic.acknowledge();
    if (vector >= 0x30) apic.write_page(reg::kEoi, 4, 0);
    return vector;
  }

  VirtualClock clock;
  ApicBus bus;
  Core core;
  Pic pic;
  LocalApic apic{0, clock, bus, core, &pic, 40, LocalApic::State::power_up(true)};
  IoApic io{bus};
  GsiRouter router{pic, io, bus};
};

TEST_F(RouterTest, AnIsaLineReachesThe8259AndTheProcessor) {
  InterruptLine& line = router.isa_line(4);

  line.set(true);

  EXPECT_TRUE(core.pending);
  EXPECT_EQ(take(), 0x24);
  EXPECT_FALSE(core.pending);
}

TEST_F(RouterTest, AnIsaLineReachesTheIoApicInputOfItsNumber) {
  mask_pic();
  unmask(4, 0x54);

  router.isa_line(4).set(true);

  EXPECT_EQ(take(), 0x54);
}

TEST_F(RouterTest, IrqZeroIsInputTwo) {
  mask_pic();
  unmask(0, 0x50);
  unmask(2, 0x52);

  router.isa_line(0).set(true);

  EXPECT_EQ(take(), 0x52);
  EXPECT_EQ(take(), -1);
}

TEST_F(RouterTest, HighGsisReachTheIoApicOnly) {
  unmask(20, 0x60);

  router.gsi_line(20).set(true);

  EXPECT_EQ(take(), 0x60);
  EXPECT_EQ(take(), -1);
}

TEST_F(RouterTest, ASharedLineIsAWiredOr) {
  mask_pic();
  unmask(10, 0x5a, true);
  InterruptLine& first = router.isa_line(10);
  InterruptLine& second = router.isa_line(10);

  first.set(true);
  second.set(true);
  first.set(false);
  EXPECT_EQ(take(), 0x5a);
  EXPECT_EQ(take(), 0x5a) << "the second still asserts it";
  second.set(false);
  EXPECT_EQ(take(), 0x5a) << "was requested before";
  EXPECT_EQ(take(), -1);
}

TEST_F(RouterTest, The8259CanComeThroughIoApicInputZero) {
  apic.write_page(reg::kLvtLint0, 4, 0x1'0700);  // LINT0 masked
  io.write(0, 4, 0x10);
  io.write(0x10, 4, 0x700);  // ExtINT

  router.isa_line(4).set(true);

  EXPECT_TRUE(core.pending);
  EXPECT_EQ(take(), 0x24);
  EXPECT_EQ(take(), -1);
}

}  // namespace
}  // namespace vellum::test
