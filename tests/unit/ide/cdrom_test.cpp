// A CD-ROM drive on the channel: packets.
#include "fixture.hpp"

namespace vellum::test {
namespace {

struct IdeCdrom : Ide {
  IdeCdrom() { select(1); }
  /// The sense key and code of the last error.
  std::pair<u8, u8> sense() {
    packet({0x03, 0, 0, 0, 18});
    const auto all = take(18);
    return {all[2], all[12]};
  }
};

TEST_F(IdeCdrom, IdentifiesItselfAsOne) {
  command(ide::kIdentify);
  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(channel->read(ide::kLbaHigh), 0xeb);

  command(ide::kIdentifyPacket);
  EXPECT_EQ(word(take(512), 0), 0x85c0u);
}

TEST_F(IdeCdrom, APacketsReplyComesWithItsLength) {
  packet({0x12, 0, 0, 0, 36});
  EXPECT_EQ(channel->read(ide::kCount), ide::kToHost);
  EXPECT_EQ(channel->read(ide::kLbaMid), 36);
  const auto inquiry = take(36);

  EXPECT_EQ(inquiry[0], 5);
  EXPECT_EQ(std::string(inquiry.begin() + 8, inquiry.begin() + 14), "VELLUM");
  EXPECT_EQ(channel->read(ide::kCount), ide::kToHost | ide::kIsCommand);
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeCdrom, OnlySoMuchAsThereIsRoomFor) {
  packet({0x12, 0, 0, 0, 8});

  EXPECT_EQ(channel->read(ide::kLbaMid), 8);
}

TEST_F(IdeCdrom, CapacityIsTheLastSector) {
  packet({0x25});

  EXPECT_EQ(take(8), (std::vector<u8>{0, 0, 0, 15, 0, 0, 8, 0}));
}

TEST_F(IdeCdrom, SectorsAreReadInPiecesOfTheHostsChoice) {
  packet({0x28, 0, 0, 0, 0, 3, 0, 0, 2}, 1024);
  const unsigned before = line.edges;

  EXPECT_EQ(channel->read(ide::kLbaHigh), 4);
  EXPECT_EQ(take(4096), part(cd->bytes, 3 * 2048, 4096));
  EXPECT_EQ(line.edges, before + 0u) << "the line stays up until the status is read";
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeCdrom, OrByTheBusMaster) {
  regions({{kBuffer, 2048}});
  packet({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, true);
  channel->write_master(0, ide::kStart | ide::kToMemory);

  EXPECT_EQ(memory(kBuffer, 2048), part(cd->bytes, 2048, 2048));
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeCdrom, RepliesToo) {
  regions({{kBuffer, 36}});
  packet({0x12, 0, 0, 0, 36}, 0, true);
  channel->write_master(0, ide::kStart | ide::kToMemory);

  EXPECT_EQ(memory(kBuffer, 1)[0], 5);
  EXPECT_EQ(channel->read_master(2), ide::kMasterInterrupt);
}

TEST_F(IdeCdrom, WhatItCannotDoIsExplained) {
  packet({0x28, 0, 0, 0, 0, 15, 0, 0, 2});
  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(sense(), std::pair(u8{5}, u8{0x21}));
  EXPECT_EQ(sense(), std::pair(u8{5}, u8{0x21})) << "kept until another command";

  packet({0xff});
  EXPECT_EQ(sense(), std::pair(u8{5}, u8{0x20}));
  packet({0x00});
  EXPECT_EQ(status(), kIdle);
  EXPECT_EQ(sense(), std::pair(u8{0}, u8{0}));
}

TEST_F(IdeCdrom, AnErrorOfTheMediumIsToldAsSense) {
  cd->fails = true;
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});

  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(sense(), std::pair(u8{3}, u8{0x11}));
}

TEST_F(IdeCdrom, TheTableOfContentsHasATrackAndItsEnd) {
  packet({0x43, 0, 0, 0, 0, 0, 0, 0, 20});
  const auto toc = take(20);

  EXPECT_EQ(toc[1], 18);
  EXPECT_EQ(toc[6], 1);
  EXPECT_EQ(toc[14], 0xaa);
  EXPECT_EQ(toc[19], 16);
}

TEST_F(IdeCdrom, DeviceResetEndsACommandAndSaysNothing) {
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  status();
  const unsigned before = line.edges;
  command(ide::kDeviceReset);

  EXPECT_EQ(status(), 0);
  EXPECT_EQ(channel->read(ide::kLbaMid), 0x14);
  EXPECT_EQ(line.edges, before);
}

TEST_F(IdeCdrom, EveryPacketIsAnsweredOrRefused) {
  for (unsigned operation = 0; operation < 256; ++operation) {
    packet({static_cast<u8>(operation), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff});
    while ((status() & ide::kDataRequest) != 0) channel->read_data(4);
    EXPECT_EQ(status() & (ide::kBusy | ide::kDataRequest), 0) << operation;
  }
}

}  // namespace
}  // namespace vellum::test
