// The VGA's registers.
#include "fixture.hpp"

namespace vellum::test {
namespace {

using VgaPorts = Display;

TEST_F(VgaPorts, RegistersKeepTheBitsThatThereAre) {
  sequencer(2, 0xff);
  graphics(5, 0xff);
  crtc(0x13, 0xff);

  EXPECT_EQ(in(0x3c5), 0x0f);
  EXPECT_EQ(in(0x3cf), 0x7b);
  EXPECT_EQ(in(0x3d5), 0xff);
}

TEST_F(VgaPorts, TheAttributeControllerTakesIndexAndDataInTurn) {
  attribute(3, 0x15);
  attribute(4, 0x2a);

  in(0x3da);
  out(0x3c0, 3);
  EXPECT_EQ(in(0x3c1), 0x15);
  in(0x3da);  // without it the next write would be data
  out(0x3c0, 4);
  EXPECT_EQ(in(0x3c1), 0x2a);
}

TEST_F(VgaPorts, TheFirstCrtcRegistersCanBeProtected) {
  crtc(0x01, 79);
  crtc(0x07, 0x02);
  crtc(0x11, 0x80);

  crtc(0x01, 1);
  EXPECT_EQ(in(0x3d5), 79);
  crtc(0x07, 0xff);
  EXPECT_EQ(in(0x3d5), 0x12) << "line compare's bit is not protected";
  crtc(0x0c, 5);
  EXPECT_EQ(in(0x3d5), 5);
}

TEST_F(VgaPorts, OneBlockOfCrtcPortsAnswers) {
  crtc(0x0c, 0x12);

  EXPECT_EQ(in(0x3b5), 0xff);
  out(0x3c2, 0x62);
  EXPECT_EQ(in(0x3d5), 0xff);
  EXPECT_EQ(in(0x3b5), 0x12);
}

TEST_F(VgaPorts, AColourIsThreePartsOfSixBits) {
  color(5, 0xff, 2, 3);
  color(6, 4, 5, 6);

  out(0x3c7, 5);
  EXPECT_EQ(in(0x3c7), 3) << "set up for reading";
  for (const u8 part : {0x3f, 2, 3, 4, 5, 6}) EXPECT_EQ(in(0x3c9), part);
  EXPECT_EQ(in(0x3c8), 7);
}

TEST_F(VgaPorts, AnUnfinishedColourChangesNothing) {
  color(5, 1, 2, 3);
  out(0x3c8, 5);
  out(0x3c9, 9);

  out(0x3c7, 5);
  EXPECT_EQ(in(0x3c9), 1);
}

TEST_F(VgaPorts, TheBeamMovesWithTime) {
  unsigned seen = 0;
  for (unsigned n = 0; n < 20'000; ++n) {
    clock.skip_to(clock.now_ns() + 1000);
    seen |= 1u << (in(0x3da) & 9);
  }

  EXPECT_EQ(seen, 1u << 0 | 1u << 1 | 1u << 9) << "drawing, horizontal and vertical retrace";
}

}  // namespace
}  // namespace vellum::test
