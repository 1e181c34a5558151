// What is on the screen.
#include "devices/display/screen.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

struct ScreenTest : Display {
  void glyph(u8 character, unsigned row, u8 bits) { memory()[(character * 32u + row) * 4 + 2] = bits; }
  void linear(u16 width, u16 height, u16 bpp) {
    dispi(vga::Dispi::kWidth, width);
    dispi(vga::Dispi::kHeight, height);
    dispi(vga::Dispi::kBpp, bpp);
    dispi(vga::Dispi::kEnable, 0x41);
  }
};

TEST_F(ScreenTest, TextIsDrawnFromTheFont) {
  text_mode(80, 25);
  glyph('A', 2, 0x81);
  print(1, 'A');
  const auto screen = adapter->screen();

  EXPECT_EQ(screen.width, 640u);
  EXPECT_EQ(screen.height, 400u);
  EXPECT_EQ(pixel(screen, 8, 2), 0xffffffu);
  EXPECT_EQ(pixel(screen, 9, 2), 0u);
  EXPECT_EQ(pixel(screen, 15, 2), 0xffffffu);
  EXPECT_EQ(pixel(screen, 8, 3), 0u);
}

TEST_F(ScreenTest, ACellOfNineDotsRepeatsTheLastOfLineGraphics) {
  text_mode(80, 25);
  sequencer(1, 0x00);
  attribute(0x10, 0x04);
  screen_on();
  glyph(0xc4, 0, 0x01);
  glyph('A', 0, 0x01);
  print(0, static_cast<char>(0xc4));
  print(1, 'A');
  const auto screen = adapter->screen();

  EXPECT_EQ(screen.width, 720u);
  EXPECT_EQ(pixel(screen, 8, 0), 0xffffffu);
  EXPECT_EQ(pixel(screen, 9 + 8, 0), 0u);
}

TEST_F(ScreenTest, TheCursorCoversItsLines) {
  text_mode(80, 25);
  crtc(0x0a, 14);
  crtc(0x0b, 15);
  crtc(0x0e, 0);
  crtc(0x0f, 4);  // in cells of four bytes
  print(4, ' ');
  const auto screen = adapter->screen();

  EXPECT_EQ(pixel(screen, 4 * 8, 13), 0u);
  EXPECT_EQ(pixel(screen, 4 * 8, 15), 0xffffffu);
  EXPECT_EQ(pixel(screen, 5 * 8, 15), 0u);
}

TEST_F(ScreenTest, TextIsReadBack) {
  text_mode(40, 2);
  print(0, 'O'), print(1, 'k'), print(3, static_cast<char>(0xb3)), print(40, '!');

  EXPECT_EQ(adapter->text(), "Ok │\n!\n");
}

TEST_F(ScreenTest, AScreenThatIsOffIsBlack) {
  text_mode(80, 25);
  glyph('A', 0, 0xff);
  print(0, 'A');
  in(0x3da);
  out(0x3c0, 0x00);

  EXPECT_EQ(pixel(adapter->screen(), 0, 0), 0u);
}

TEST_F(ScreenTest, Mode13hIs320Bytes200Lines) {
  text_mode(80, 25);
  sequencer(4, 0x0e);
  graphics(5, 0x40);
  graphics(6, 0x05);
  crtc(0x09, 0x41);
  color(9, 0x3f, 0, 0);
  memory()[320 + 5] = 9;
  const auto screen = adapter->screen();

  EXPECT_EQ(screen.width, 640u);
  EXPECT_EQ(screen.height, 400u);
  EXPECT_EQ(pixel(screen, 10, 2), 0xff0000u);
  EXPECT_EQ(pixel(screen, 11, 3), 0xff0000u);
  EXPECT_EQ(pixel(screen, 10, 1), 0u);
  EXPECT_EQ(adapter->text(), "");
}

TEST_F(ScreenTest, PlanarPixelsTakeABitOfEachPlane) {
  text_mode(80, 25);
  sequencer(4, 0x06);
  graphics(5, 0x00);
  graphics(6, 0x05);
  crtc(0x09, 0x00);
  crtc(0x17, 0xe3);
  attribute(5, 0x15);
  screen_on();
  color(0x15, 0, 0x3f, 0);
  memory()[80 * 4 + 0] = 0x40;  // second line, second pixel: planes 0 and 2
  memory()[80 * 4 + 2] = 0x40;
  const auto screen = adapter->screen();

  EXPECT_EQ(pixel(screen, 1, 1), 0x00ff00u);
  EXPECT_EQ(pixel(screen, 0, 1), 0u);
}

TEST_F(ScreenTest, LinearModesOfAllDepths) {
  linear(64, 48, 32);
  memory()[(64 + 2) * 4] = 0x33, memory()[(64 + 2) * 4 + 1] = 0x22, memory()[(64 + 2) * 4 + 2] = 0x11;
  EXPECT_EQ(pixel(adapter->screen(), 2, 1), 0x112233u);

  dispi(vga::Dispi::kEnable, 0);
  linear(64, 48, 16);
  memory()[2] = 0x00, memory()[3] = 0xf8;
  EXPECT_EQ(pixel(adapter->screen(), 1, 0), 0xff0000u);

  dispi(vga::Dispi::kEnable, 0);
  linear(64, 48, 8);
  color(3, 0, 0, 0x3f);
  memory()[7] = 3;
  EXPECT_EQ(pixel(adapter->screen(), 7, 0), 0x0000ffu);
  EXPECT_EQ(adapter->screen().width, 64u);
}

}  // namespace
}  // namespace vellum::test
