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

TEST_F(IdeCdrom, AnotherMediumIsToldOnceAndThenRead) {
  const auto other = std::make_shared<MemoryDisk>();
  std::ranges::fill(other->bytes, 0x5a);
  EXPECT_TRUE(channel->change(1, other));
  packet({0x12, 0, 0, 0, 36});
  EXPECT_EQ(take(36)[0], 5) << "INQUIRY hears nothing of it";

  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(sense(), std::pair(u8{6}, u8{0x28}));
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  EXPECT_EQ(take(2048), part(other->bytes, 0, 2048));
}

TEST_F(IdeCdrom, AnEmptyDriveIsNotReady) {
  EXPECT_TRUE(channel->change(1, nullptr));
  for (const u8 operation : {0x00, 0x25, 0x28, 0x2b, 0x43, 0x51, 0xa8}) {
    packet({operation});
    EXPECT_EQ(status(), kIdle | ide::kFailed) << int{operation};
    EXPECT_EQ(sense(), std::pair(u8{2}, u8{0x3a})) << int{operation};
  }
  EXPECT_EQ(channel->state().phase, ide::Phase::kIdle);
  packet({0x12, 0, 0, 0, 36});
  EXPECT_EQ(take(36)[0], 5);
}

TEST_F(IdeCdrom, AnEmptyDriveRepliesByTheBusMasterToo) {
  EXPECT_TRUE(channel->change(1, nullptr));
  regions({{kBuffer, 36}});
  packet({0x12, 0, 0, 0, 36}, 0, true);
  channel->write_master(0, ide::kStart | ide::kToMemory);

  EXPECT_EQ(memory(kBuffer, 1)[0], 5);
}

TEST_F(IdeCdrom, EventsAreToldOnce) {
  const auto event = [this] {
    packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});
    const auto all = take(8);
    return std::pair(all[4], all[5]);
  };
  EXPECT_EQ(event(), std::pair(u8{0}, u8{2}));
  channel->change(1, nullptr);
  EXPECT_EQ(event(), std::pair(u8{3}, u8{0}));
  EXPECT_EQ(event(), std::pair(u8{0}, u8{0}));
  channel->change(1, cd);
  EXPECT_EQ(event(), std::pair(u8{2}, u8{2}));
  EXPECT_EQ(event(), std::pair(u8{0}, u8{2}));
}

TEST_F(IdeCdrom, ALockedDriveKeepsItsMediumAndAsksForIt) {
  packet({0x1e, 0, 0, 0, 1});
  EXPECT_FALSE(channel->change(1, nullptr));
  packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});
  EXPECT_EQ(take(8)[4], 1) << "eject request";
  packet({0x1b, 0, 0, 0, 2});
  EXPECT_EQ(sense(), std::pair(u8{5}, u8{0x53}));
  packet({0x25});
  EXPECT_EQ(take(8)[3], 15);

  packet({0x1e, 0, 0, 0, 0});
  EXPECT_TRUE(channel->change(1, nullptr));
}

TEST_F(IdeCdrom, ItSaysThatItHasATrayWithALock) {
  const auto mechanism = [this] {
    packet({0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 28});
    return take(28)[8 + 6];
  };
  EXPECT_EQ(mechanism(), 0x29);
  packet({0x1e, 0, 0, 0, 1});
  EXPECT_EQ(mechanism(), 0x2b);
}

TEST_F(IdeCdrom, ALockedDriveCanBeForced) {
  packet({0x1e, 0, 0, 0, 1});
  EXPECT_TRUE(channel->change(1, nullptr, true));
  packet({0x00});
  EXPECT_EQ(sense(), std::pair(u8{2}, u8{0x3a}));
  EXPECT_TRUE(channel->tray(1).locked) << "as software left it";

  EXPECT_TRUE(channel->change(1, cd)) << "there is nothing to keep";
}

TEST_F(IdeCdrom, TakingNothingOutIsNoEvent) {
  channel->change(1, nullptr);
  packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});
  take(8);
  channel->change(1, nullptr);
  packet({0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8});

  EXPECT_EQ(take(8)[4], 0);
}

TEST_F(IdeCdrom, AChangeClosesTheTray) {
  packet({0x1b, 0, 0, 0, 2});
  EXPECT_TRUE(channel->change(1, std::make_shared<MemoryDisk>()));
  EXPECT_FALSE(channel->tray(1).open);
}

TEST_F(IdeCdrom, SoftwareOpensAndClosesTheTray) {
  packet({0x1b, 0, 0, 0, 2});
  packet({0x00});
  EXPECT_EQ(sense(), std::pair(u8{2}, u8{0x3a}));
  EXPECT_EQ(channel->state().devices[1].sense.qualifier, 2) << "the tray is open";
  packet({0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8});
  EXPECT_EQ(take(8)[1], 0x10);
  EXPECT_TRUE(channel->tray(1).open);
  packet({0x1b, 0, 0, 0, 0x33});
  EXPECT_TRUE(channel->tray(1).open) << "a power condition is all that this is about";
  packet({0x1b, 0, 0, 0, 3});
  EXPECT_EQ(sense(), std::pair(u8{6}, u8{0x28})) << "without a command that failed: the attention itself";
  packet({0x00});
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeCdrom, WhatIsBeingReadFailsWhenTheMediumGoes) {
  cd->bytes.resize(256 << 10);  // more than is read at a time
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 128}, 2048);
  EXPECT_EQ(status(), kOffers);
  channel->change(1, nullptr);

  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(channel->read_data(4), 0xffff'ffffu);
  EXPECT_EQ(sense(), std::pair(u8{2}, u8{0x3a}));
}

TEST_F(IdeCdrom, WhatHasBeenReadIsKeptWhenTheMediumGoes) {
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 2}, 2048);
  channel->change(1, nullptr);

  EXPECT_EQ(take(4096), part(cd->bytes, 0, 4096));
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeCdrom, WhatTheLoopIsReadingIsDropped) {
  insert({}, false);
  loop->start();
  select(1);
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  loop->run_on_loop([] {});  // after what was asked for
  EXPECT_EQ(cd->waiting.size(), 1u);
  EXPECT_EQ(status(), ide::kBusy);
  loop->run_on_loop([&] { channel->change(1, std::make_shared<MemoryDisk>()); });

  EXPECT_TRUE(cd->waiting.empty());
  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(channel->read(ide::kError), 0x60 | ide::kAborted);
}

TEST_F(IdeCdrom, WhatTheLoopWasReadingIsNotTheNextCommandsData) {
  const auto other = std::make_shared<MemoryDisk>();
  insert({}, false);
  loop->start();
  select(1);
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  loop->run_on_loop([] {});
  cd->before_finishing = [this] {
    packet({0x03, 0, 0, 0, 18});
    take(18);
    packet({0x28, 0, 0, 0, 0, 0, 0, 0, 1});
  };
  loop->run_on_loop([&] { channel->change(1, other); });
  loop->run_on_loop([&] { other->finish_all(); });

  EXPECT_EQ(status(), kOffers);
  EXPECT_EQ(take(2048), part(other->bytes, 0, 2048));
}

TEST_F(IdeCdrom, TheOtherDriveIsNotDisturbed) {
  both_cdroms = true;
  disk->bytes.resize(256 << 10, 0x77);  // more than is read at a time
  insert({});
  select(0);
  packet({0x28, 0, 0, 0, 0, 0, 0, 0, 128}, 0x8000);
  EXPECT_TRUE(channel->change(1, nullptr));

  EXPECT_EQ(take(256 << 10), disk->bytes);
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeCdrom, AReadThatWaitsForTheBusMasterFailsWhenTheMediumChanges) {
  regions({{kBuffer, 2048}});
  packet({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, true);
  channel->change(1, std::make_shared<MemoryDisk>());

  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(sense(), std::pair(u8{6}, u8{0x28}));
  packet({0x00});
  EXPECT_EQ(status(), kIdle) << "told already";
}

TEST_F(IdeCdrom, AStateIsRestoredWithTheMediumOfThen) {
  channel->change(1, nullptr);
  cd = nullptr;
  insert(channel->state());
  select(1);
  packet({0x00});
  EXPECT_EQ(sense(), std::pair(u8{2}, u8{0x3a}));

  cd = std::make_shared<MemoryDisk>();
  channel->change(1, cd);
  insert(channel->state());
  packet({0x00});
  EXPECT_EQ(sense(), std::pair(u8{6}, u8{0x28})) << "not told yet when it was saved";
}

TEST_F(IdeCdrom, ARestoredReadWithoutItsMediumFails) {
  regions({{kBuffer, 2048}});
  packet({0x28, 0, 0, 0, 0, 1, 0, 0, 1}, 0, true);
  const auto state = channel->state();
  cd = nullptr;
  insert(state);
  channel->write_master(0, ide::kStart | ide::kToMemory);

  EXPECT_EQ(status(), kIdle | ide::kFailed);
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
