// Planes, latches, write modes; the display interface's bank.
#include "fixture.hpp"

namespace vellum::test {
namespace {

struct VgaWindow : Display {
  void planar() {
    sequencer(2, 0x0f);
    sequencer(4, 0x06);
    graphics(5, 0x00);
    graphics(6, 0x05);
    graphics(7, 0x0f);
    graphics(8, 0xff);
  }
  u32 cell(u64 n) { return guest_load<u32>(&memory()[4 * n]); }
  void latch(u64 n, u32 value) {
    guest_store<u32>(&memory()[4 * n], value);
    peek(n);
  }
};

TEST_F(VgaWindow, TextIsInPlanesZeroAndOne) {
  text_mode(80, 25);

  print(3, 'x', 0x1e);
  EXPECT_EQ(cell(3), 0x00001e78u);
  EXPECT_EQ(peek(0x18006), 'x');
  EXPECT_EQ(peek(0x10006), 0xff) << "another part of the window";
}

TEST_F(VgaWindow, TheMapMaskChoosesPlanes) {
  planar();
  sequencer(2, 0x05);

  poke(7, 0xab);
  EXPECT_EQ(cell(7), 0x00ab00abu);
}

TEST_F(VgaWindow, ReadingTakesThePlaneOfTheReadMap) {
  planar();
  latch(9, 0x44332211);

  graphics(4, 2);
  EXPECT_EQ(peek(9), 0x33);
}

TEST_F(VgaWindow, ReadingCanCompareColours) {
  planar();
  latch(9, 0x000f'00ff);  // planes 0 and 2
  graphics(5, 0x08);

  graphics(2, 0x05);
  EXPECT_EQ(peek(9), 0x0f);
  graphics(7, 0x01);  // only plane 0 counts
  EXPECT_EQ(peek(9), 0xff);
}

TEST_F(VgaWindow, WriteMode0RotatesSetsAndMasks) {
  planar();
  latch(1, 0x0000'0000);
  graphics(3, 0x04);  // rotate by 4
  graphics(1, 0x08);  // plane 3 from set/reset
  graphics(0, 0x08);
  graphics(8, 0x3f);

  poke(1, 0xf1);
  EXPECT_EQ(cell(1), 0x3f1f1f1fu);
}

TEST_F(VgaWindow, WriteMode0CombinesWithTheLatch) {
  planar();
  latch(1, 0x5555'5555);
  graphics(3, 0x18);  // exclusive or

  poke(2, 0xff);
  EXPECT_EQ(cell(2), 0xaaaaaaaau);
}

TEST_F(VgaWindow, WriteMode1CopiesTheLatch) {
  planar();
  latch(1, 0x12345678);
  graphics(5, 0x01);

  poke(2, 0);
  EXPECT_EQ(cell(2), 0x12345678u);
}

TEST_F(VgaWindow, WriteMode2PaintsAColour) {
  planar();
  latch(1, 0xffff'ffff);
  graphics(5, 0x02);
  graphics(8, 0x80);

  poke(1, 0x05);
  EXPECT_EQ(cell(1), 0x7fff7fffu);
}

TEST_F(VgaWindow, WriteMode3MasksWithTheData) {
  planar();
  latch(1, 0);
  graphics(5, 0x03);
  graphics(0, 0x02);
  graphics(8, 0xf0);

  poke(1, 0x3c);
  EXPECT_EQ(cell(1), 0x00003000u);
}

TEST_F(VgaWindow, WithChain4MemoryIsLinear) {
  planar();
  sequencer(4, 0x0e);

  poke(0x1235, 0x99);
  EXPECT_EQ(memory()[0x1235], 0x99);
  EXPECT_EQ(peek(0x1235), 0x99);
}

TEST_F(VgaWindow, TheBankMovesIt) {
  planar();
  sequencer(4, 0x0e);
  dispi(vga::Dispi::kBank, 3);

  poke(5, 0x77);
  EXPECT_EQ(memory()[0x30005], 0x77);
  EXPECT_EQ(dispi(vga::Dispi::kBank), 3);
}

TEST_F(VgaWindow, MemoryCanBeOff) {
  planar();
  out(0x3c2, 0x61);

  poke(0, 1);
  EXPECT_EQ(cell(0), 0u);
  EXPECT_EQ(peek(0), 0xff);
}

}  // namespace
}  // namespace vellum::test
