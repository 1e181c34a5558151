// Commands that move data, by DMA and by the FIFO.
#include "fixture.hpp"

namespace vellum::test {
namespace {

using FloppyTransfer = Floppy;
constexpr u8 kRead = 0xe6, kWrite = 0xc5;  // both heads, MFM

TEST_F(FloppyTransfer, SectorsAreReadUntilTheDmaEnds) {
  seek(2);
  dma_to_memory(3 * 512);

  give({kRead, 0, 2, 0, 5, 2, 18, 0x1b, 0xff});

  EXPECT_TRUE(line.level);
  EXPECT_EQ(take(), (Bytes{0, 0, 0, 2, 0, 8, 2}));
  EXPECT_FALSE(line.level);
  EXPECT_EQ(memory(3 * 512), part(disk->bytes, 4 * kTrack + 4 * 512, 3 * 512));
}

TEST_F(FloppyTransfer, ATransferGoesOnOnTheOtherHead) {
  dma_to_memory(3 * 512);

  give({kRead, 0, 0, 0, 17, 2, 18, 0x1b, 0xff});

  EXPECT_EQ(take(), (Bytes{0x04, 0, 0, 0, 1, 2, 2}));
  EXPECT_EQ(memory(3 * 512), part(disk->bytes, 16 * 512, 3 * 512));
}

TEST_F(FloppyTransfer, AtTheEndOfTheCylinderItIsOver) {
  dma_to_memory(4 * 512);

  give({kRead, 0x04, 0, 1, 17, 2, 18, 0x1b, 0xff});

  EXPECT_EQ(take(), (Bytes{0x44, 0x80, 0, 1, 0, 1, 2}));
  EXPECT_EQ(memory(2 * 512), part(disk->bytes, kTrack + 16 * 512, 2 * 512));
}

TEST_F(FloppyTransfer, WhatTheDmaAsksForAndNoMoreIsTheResult) {
  dma_to_memory(18 * 512);
  EXPECT_EQ(command({0x46, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0, 0, 0, 1, 0, 1, 2}));

  dma_to_memory(36 * 512);
  EXPECT_EQ(command({kRead, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x04, 0, 0, 1, 0, 1, 2}));
}

TEST_F(FloppyTransfer, SectorsAreWrittenAndStable) {
  fill_memory(1024, 0x5a);
  dma_from_memory(1024);

  give({kWrite, 0x04, 0, 1, 3, 2, 18, 0x1b, 0xff});

  EXPECT_EQ(take(), (Bytes{0x04, 0, 0, 0, 1, 5, 2}));
  EXPECT_EQ(part(disk->bytes, kTrack + 2 * 512, 1024), Bytes(1024, 0x5a));
  EXPECT_NE(disk->bytes[kTrack + 4 * 512], 0x5a);
  EXPECT_EQ(disk->kinds.back(), DiskRequest::Kind::kFlush);
}

TEST_F(FloppyTransfer, ASectorThatIsGivenInPartEndsWithZeroes) {
  fill_memory(600, 0x5a);
  dma_from_memory(600);

  EXPECT_EQ(command({kWrite, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0, 0, 0, 0, 0, 3, 2}));

  EXPECT_EQ(part(disk->bytes, 0, 600), Bytes(600, 0x5a));
  EXPECT_EQ(part(disk->bytes, 600, 424), Bytes(424, 0));
}

TEST_F(FloppyTransfer, WriteProtectedDisksStayAsTheyAre) {
  disk->is_read_only = true;
  fill_memory(512, 0x5a);
  dma_from_memory(512);

  EXPECT_EQ(command({kWrite, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x40, 0x02, 0, 0, 0, 1, 2}));

  EXPECT_TRUE(disk->kinds.empty());
}

struct Missing {
  const char* what;
  u8 cylinder, head, record, size;
  Bytes status;
};
struct FloppyMissing : Floppy, testing::WithParamInterface<Missing> {};

TEST_P(FloppyMissing, IsNotFound) {
  const Missing& m = GetParam();
  dma_to_memory(512);

  const Bytes result = command({0x46, 0, m.cylinder, m.head, m.record, m.size, 18, 0x1b, 0xff});

  EXPECT_EQ(part(result, 0, 3), m.status);
  EXPECT_EQ(part(result, 3, 4), (Bytes{m.cylinder, m.head, m.record, m.size}));
}
INSTANTIATE_TEST_SUITE_P(All, FloppyMissing,
                         testing::Values(Missing{"cylinder", 1, 0, 1, 2, {0x40, 0x04, 0x10}},
                                         Missing{"head", 0, 1, 1, 2, {0x40, 0x04, 0}},
                                         Missing{"record0", 0, 0, 0, 2, {0x40, 0x04, 0}},
                                         Missing{"record19", 0, 0, 19, 2, {0x40, 0x04, 0}},
                                         Missing{"size", 0, 0, 1, 3, {0x40, 0x04, 0}}),
                         [](const auto& test) { return test.param.what; });

TEST_F(FloppyTransfer, AnEndBeyondTheTrackIsNotFound) {
  dma_to_memory(8 * 512);

  EXPECT_EQ(command({0x46, 0, 0, 0, 17, 2, 20, 0x1b, 0xff}), (Bytes{0x40, 0x04, 0, 0, 0, 19, 2}));
}

TEST_F(FloppyTransfer, ErrorsOfTheHostAreTheMediums) {
  disk->fails = true;
  dma_to_memory(512);
  EXPECT_EQ(part(command({kRead, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), 0, 3), (Bytes{0x40, 0x20, 0x20}));

  dma_from_memory(512);
  EXPECT_EQ(part(command({kWrite, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), 0, 3), (Bytes{0x40, 0x04, 0}));
}

TEST_F(FloppyTransfer, WaitsForItsDmaChannel) {
  give({kRead, 0, 0, 0, 1, 2, 18, 0x1b, 0xff});
  EXPECT_EQ(status(), 0x10) << "busy, and nothing for the data register";
  EXPECT_EQ(dma->first_ports().read(8, 1), 0x40u) << "it asks";

  dma_to_memory(512);

  EXPECT_EQ(dma->first_ports().read(8, 1), 0x04u);
  EXPECT_EQ(take(), (Bytes{0, 0, 0, 0, 0, 2, 2}));
  EXPECT_EQ(memory(512), part(disk->bytes, 0, 512));
}

TEST_F(FloppyTransfer, SavedWhileItWaitsItGoesOn) {
  give({kRead, 0, 0, 0, 4, 2, 18, 0x1b, 0xff});

  move_on();
  EXPECT_EQ(status(), 0x10);
  EXPECT_EQ(dma->first_ports().read(8, 1), 0x40u);
  dma_to_memory(512);

  EXPECT_EQ(take(), (Bytes{0, 0, 0, 0, 0, 5, 2}));
  EXPECT_EQ(memory(512), part(disk->bytes, 3 * 512, 512));
}

TEST_F(FloppyTransfer, AResetEndsTheWaiting) {
  give({kRead, 0, 0, 0, 1, 2, 18, 0x1b, 0xff});

  out(floppy::kDataRate, 0x80);
  dma_to_memory(512);

  EXPECT_EQ(status(), 0x80);
  EXPECT_EQ(memory(512), Bytes(512, 0));
}

TEST_F(FloppyTransfer, AnotherDriveSelectedMeanwhileChangesNothing) {
  give({kWrite, 0, 0, 0, 1, 2, 18, 0x1b, 0xff});
  out(floppy::kDigitalOutput, 0x3e);
  fill_memory(512, 0x5a);

  dma_from_memory(512);

  EXPECT_EQ(take(), (Bytes{0, 0, 0, 0, 0, 2, 2}));
  EXPECT_EQ(disk->bytes[511], 0x5a);
}

// ---- Without DMA ----

struct FloppyFifo : Floppy {
  FloppyFifo() { command({0x03, 0xdf, 0x03}); }
};

TEST_F(FloppyFifo, BytesAreReadWhileTheControllerOffersThem) {
  give({kRead, 0x04, 0, 1, 18, 2, 18, 0x1b, 0xff});
  EXPECT_EQ(status(), 0xf0);
  EXPECT_TRUE(line.level);

  Bytes data;
  for (int n = 0; n < 512; ++n) data.push_back(in(floppy::kData));

  EXPECT_EQ(data, part(disk->bytes, kTrack + 17 * 512, 512));
  EXPECT_EQ(status(), 0xd0);
  EXPECT_EQ(take(), (Bytes{0x44, 0x80, 0, 1, 0, 1, 2}))
      << "no terminal count: the end of the cylinder ends it";
}

TEST_F(FloppyFifo, BytesAreWrittenSectorBySector) {
  give({kWrite, 0x04, 0, 1, 17, 2, 18, 0x1b, 0xff});
  EXPECT_EQ(status(), 0xb0);

  for (int n = 0; n < 512; ++n) out(floppy::kData, 0x11);
  EXPECT_EQ(disk->bytes[kTrack + 16 * 512], 0x11);
  EXPECT_EQ(status(), 0xb0);
  for (int n = 0; n < 512; ++n) out(floppy::kData, 0x22);

  EXPECT_EQ(take(), (Bytes{0x44, 0x80, 0, 1, 0, 1, 2}));
  EXPECT_EQ(part(disk->bytes, kTrack + 17 * 512, 512), Bytes(512, 0x22));
}

TEST_F(FloppyFifo, SavedInTheMiddleItGoesOn) {
  give({kWrite, 0x04, 0, 1, 18, 2, 18, 0x1b, 0xff});
  for (int n = 0; n < 200; ++n) out(floppy::kData, 0x11);

  move_on();
  EXPECT_EQ(status(), 0xb0);
  EXPECT_TRUE(line.level);
  for (int n = 200; n < 512; ++n) out(floppy::kData, 0x22);

  EXPECT_EQ(take().at(1), 0x80);
  EXPECT_EQ(part(disk->bytes, kTrack + 17 * 512, 200), Bytes(200, 0x11));
  EXPECT_EQ(part(disk->bytes, kTrack + 17 * 512 + 200, 312), Bytes(312, 0x22));
}

TEST_F(FloppyFifo, SavedInAResultItGoesOn) {
  give({kRead, 0, 0, 0, 19, 2, 18, 0x1b, 0xff});
  EXPECT_EQ(in(floppy::kData), 0x40);

  move_on();

  EXPECT_EQ(take(), (Bytes{0x04, 0, 0, 0, 19, 2}));
}

TEST_F(FloppyFifo, SavedInACommandItGoesOn) {
  give({0x0f, 0});

  move_on();
  give({33});

  EXPECT_EQ(command({0x08}), (Bytes{0x20, 33}));
}

// ---- Other commands ----

TEST_F(FloppyTransfer, VerifyingMovesNothing) {
  EXPECT_EQ(command({0x56, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0, 0, 0, 1, 0, 1, 2}));
  EXPECT_EQ(command({0xd6, 0x80, 0, 0, 17, 2, 18, 0x1b, 4}), (Bytes{0x04, 0, 0, 0, 1, 3, 2}));
  EXPECT_EQ(part(command({0x56, 0, 0, 0, 1, 2, 19, 0x1b, 0xff}), 0, 3), (Bytes{0x40, 0x04, 0}));
}

TEST_F(FloppyTransfer, ATrackIsReadFromItsFirstSector) {
  dma_to_memory(18 * 512);

  EXPECT_EQ(command({0x42, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0, 0, 0, 1, 0, 1, 2}));
  EXPECT_EQ(memory(18 * 512), part(disk->bytes, 0, 18 * 512));

  dma_to_memory(2 * 512);
  EXPECT_EQ(command({0x42, 0, 0, 0, 9, 2, 18, 0x1b, 0xff}), (Bytes{0, 0x04, 0, 0, 0, 3, 2}))
      << "not the first";
  EXPECT_EQ(memory(512), part(disk->bytes, 0, 512));
}

TEST_F(FloppyTransfer, DeletedDataIsNowhere) {
  dma_to_memory(1024);
  EXPECT_EQ(command({0x4c, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0, 0, 0x40, 0, 0, 2, 2}));
  EXPECT_EQ(memory(1024), [&] {
    Bytes first = part(disk->bytes, 0, 512);
    first.resize(1024);
    return first;
  }());

  EXPECT_EQ(command({0x6c, 0, 0, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0, 0, 0x40, 1, 0, 1, 2})) << "skipped";
}

TEST_F(FloppyTransfer, ImpliedSeeks) {
  command({0x13, 0, 0x47, 0});
  dma_to_memory(512);

  EXPECT_EQ(command({kRead, 0, 30, 0, 1, 2, 18, 0x1b, 0xff}), (Bytes{0x20, 0, 0, 30, 0, 2, 2}));

  EXPECT_EQ(memory(512), part(disk->bytes, 60 * kTrack, 512));
}

TEST_F(FloppyTransfer, TheSecondDriveHasItsOwnFormat) {
  other->bytes[36 * 512 + 35 * 512] = 0x77;
  out(floppy::kDigitalOutput, 0x2d);
  out(floppy::kDataRate, floppy::k1000);
  dma_to_memory(512);

  EXPECT_EQ(command({kRead, 0x05, 0, 1, 36, 2, 36, 0x1b, 0xff}), (Bytes{0x05, 0, 0, 1, 0, 1, 2}));

  EXPECT_EQ(memory(1), (Bytes{0x77}));
}

// ---- Formatting ----

struct FloppyFormat : Floppy {
  FloppyFormat() {
    seek(5);
    for (u8 n = 0; n < 18; ++n) sector(n, {5, 1, static_cast<u8>(n * 7 % 18 + 1), 2});
    dma_from_memory(4 * 18);
  }
  void sector(unsigned n, std::initializer_list<u8> id) {
    std::ranges::copy(id, ram->host(GuestPhys(kBuffer + 4 * n)));
  }
};

TEST_F(FloppyFormat, FillsATrack) {
  EXPECT_EQ(part(command({0x4d, 0x04, 2, 18, 0x54, 0xf6}), 0, 3), (Bytes{0x04, 0, 0}));

  EXPECT_EQ(part(disk->bytes, 11 * kTrack, kTrack), Bytes(kTrack, 0xf6));
  EXPECT_NE(disk->bytes[11 * kTrack - 1], 0xf6);
  EXPECT_NE(disk->bytes[12 * kTrack], 0xf6);
}

TEST_F(FloppyFormat, OtherFormatsAreRefused) {
  const Bytes refused{0x44, 0x02, 0};
  EXPECT_EQ(part(command({0x4d, 0x04, 2, 9, 0x54, 0xf6}), 0, 3), refused) << "sectors";
  EXPECT_EQ(part(command({0x4d, 0x04, 3, 18, 0x54, 0xf6}), 0, 3), refused) << "their size";
  sector(3, {5, 1, 1, 2});
  EXPECT_EQ(part(command({0x4d, 0x04, 2, 18, 0x54, 0xf6}), 0, 3), refused) << "one twice";
  sector(3, {6, 1, 4, 2});
  dma_from_memory(4 * 18);
  EXPECT_EQ(part(command({0x4d, 0x04, 2, 18, 0x54, 0xf6}), 0, 3), refused) << "another cylinder's";
  EXPECT_TRUE(disk->kinds.empty());
}

TEST_F(FloppyFormat, TooFewIdsAreAnOverrun) {
  dma_from_memory(4 * 17);

  EXPECT_EQ(part(command({0x4d, 0x04, 2, 18, 0x54, 0xf6}), 0, 3), (Bytes{0x44, 0x10, 0}));

  EXPECT_TRUE(disk->kinds.empty());
}

TEST_F(FloppyFormat, ByTheFifoToo) {
  command({0x03, 0xdf, 0x03});
  give({0x4d, 0x04, 2, 18, 0x54, 0xf6});
  EXPECT_EQ(status(), 0xb0);

  for (u8 n = 1; n <= 18; ++n) give({5, 1, n, 2});

  EXPECT_EQ(part(take(), 0, 3), (Bytes{0x04, 0, 0}));
  EXPECT_EQ(part(disk->bytes, 11 * kTrack, kTrack), Bytes(kTrack, 0xf6));
}

// ---- Damaged states ----

TEST_F(FloppyTransfer, ADamagedStateIsACommandLess) {
  floppy::Controller::State state;
  state.output = 0x1c;
  state.phase = floppy::Phase::kExecution;
  state.step = floppy::Step::kWrite;
  state.command = kWrite;
  state.id = {0, 0, 18, 2};
  state.run = 2;
  state.buffer.assign(1024, 0);

  insert(state);
  controller->resume();

  EXPECT_EQ(status(), 0x80);
  EXPECT_TRUE(disk->kinds.empty());
}

}  // namespace
}  // namespace vellum::test
