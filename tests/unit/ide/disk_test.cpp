// A disk on the channel.
#include "fixture.hpp"

namespace vellum::test {
namespace {

using IdeDisk = Ide;

TEST_F(IdeDisk, AfterPowerOnTheRegistersSayWhatItIs) {
  EXPECT_EQ(status(), kIdle);
  EXPECT_EQ(channel->read(ide::kError), 1);
  EXPECT_EQ(channel->read(ide::kLbaMid), 0);
  select(1);
  EXPECT_EQ(channel->read(ide::kLbaMid), 0x14);
  EXPECT_EQ(channel->read(ide::kLbaHigh), 0xeb);
}

TEST_F(IdeDisk, IdentifiesItself) {
  command(ide::kIdentify);
  EXPECT_EQ(status(), kOffers);
  const auto identity = take(512);

  EXPECT_EQ(word(identity, 0), 0x0040u);
  EXPECT_EQ(word(identity, 60), 64u);
  EXPECT_EQ(word(identity, 100), 64u);
  EXPECT_EQ(std::string(identity.begin() + 54, identity.begin() + 66), "EVLLMUD SI K");
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeDisk, SectorsAreReadOneByOne) {
  address(3, 2);
  command(ide::kReadSectors);
  EXPECT_EQ(line.edges, 1u);
  EXPECT_EQ(status(), kOffers);
  EXPECT_FALSE(line.level) << "reading the status takes the interrupt away";

  EXPECT_EQ(take(512), part(disk->bytes, 3 * 512, 512));
  EXPECT_EQ(line.edges, 2u);
  EXPECT_EQ(take(512), part(disk->bytes, 4 * 512, 512));
  EXPECT_EQ(line.edges, 2u);
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeDisk, OrSeveralAtOnce) {
  channel->write(ide::kCount, 4);
  command(ide::kSetMultiple);
  address(0, 6);
  command(ide::kReadMultiple);
  EXPECT_EQ(status(), kOffers);

  EXPECT_EQ(take(2048), part(disk->bytes, 0, 2048));
  EXPECT_EQ(line.edges, 3u) << "the command's, two blocks'";
  EXPECT_EQ(take(1024), part(disk->bytes, 2048, 1024));
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeDisk, WrittenSectorsReachTheMedium) {
  const std::vector<u8> data(512, 0x5a);
  address(7, 2);
  command(ide::kWriteSectors);
  EXPECT_EQ(status(), kOffers);
  EXPECT_EQ(line.edges, 0u);

  give(data);
  EXPECT_EQ(line.edges, 1u);
  EXPECT_EQ(status(), kOffers);
  give(data);
  EXPECT_EQ(line.edges, 2u);
  EXPECT_EQ(status(), kIdle);
  EXPECT_EQ(part(disk->bytes, 7 * 512, 512), data);
  EXPECT_EQ(part(disk->bytes, 8 * 512, 512), data);
}

TEST_F(IdeDisk, AddressesOf48Bits) {
  channel->write(ide::kLbaLow, 0), address(5, 0);
  channel->write(ide::kCount, 0), channel->write(ide::kCount, 1);
  command(ide::kReadSectorsExt);
  EXPECT_EQ(take(512), part(disk->bytes, 5 * 512, 512));

  channel->write(ide::kLbaLow, 1), channel->write(ide::kLbaLow, 5);
  channel->write(ide::kCount, 0), channel->write(ide::kCount, 1);
  command(ide::kReadSectorsExt);
  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(channel->read(ide::kError), ide::kNoSector);
  channel->write_control(ide::kHighOrder);
  EXPECT_EQ(channel->read(ide::kLbaLow), 1);
}

TEST_F(IdeDisk, CylindersHeadsAndSectorsWork) {
  disk->bytes.resize(4 * 16 * 63 * 512, 0x11);
  disk->bytes[((2 * 16 + 3) * 63 + 4) * 512] = 0x77;
  channel->write(ide::kDevice, 0xa3);
  channel->write(ide::kCount, 1), channel->write(ide::kLbaLow, 5), channel->write(ide::kLbaMid, 2);
  channel->write(ide::kLbaHigh, 0);
  command(ide::kReadSectors);

  EXPECT_EQ(take(512)[0], 0x77);
}

TEST_F(IdeDisk, WhatIsBeyondTheEndFails) {
  address(63, 2);
  command(ide::kReadSectors);

  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(channel->read(ide::kError), ide::kNoSector);
  EXPECT_TRUE(disk->kinds.empty());
}

TEST_F(IdeDisk, AnErrorOfTheMediumIsTold) {
  disk->fails = true;
  address(0, 1);
  command(ide::kReadSectors);

  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(channel->read(ide::kError), ide::kUncorrectable);
}

TEST_F(IdeDisk, AReadOnlyOneTakesNoWrites) {
  disk->is_read_only = true;
  address(0, 1);
  command(ide::kWriteSectors);

  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(channel->read(ide::kError), ide::kAborted);
}

TEST_F(IdeDisk, TheBusMasterScattersWhatIsRead) {
  regions({{kBuffer, 256}, {kBuffer + 0x1000, 768}});
  address(2, 2);
  command(ide::kReadDma);
  EXPECT_EQ(status() & ide::kBusy, ide::kBusy);

  channel->write_master(0, ide::kStart | ide::kToMemory);
  EXPECT_EQ(channel->read_master(2), ide::kMasterInterrupt);
  EXPECT_EQ(status(), kIdle);
  EXPECT_EQ(memory(kBuffer, 256), part(disk->bytes, 1024, 256));
  EXPECT_EQ(memory(kBuffer + 0x1000, 768), part(disk->bytes, 1280, 768));
  channel->write_master(2, ide::kMasterInterrupt);
  EXPECT_EQ(channel->read_master(2), 0);
}

TEST_F(IdeDisk, AndGathersWhatIsWritten) {
  std::fill_n(ram->host(GuestPhys(kBuffer)), 1024, u8{0x3c});
  regions({{kBuffer, 1024}});
  address(9, 2);
  command(ide::kWriteDma);
  channel->write_master(0, ide::kStart);

  EXPECT_EQ(part(disk->bytes, 9 * 512, 1024), std::vector<u8>(1024, 0x3c));
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeDisk, RegionsThatAreTooSmallOrNoMemoryAreAnError) {
  regions({{kBuffer, 256}});
  address(0, 1);
  command(ide::kReadDma);
  channel->write_master(0, ide::kStart | ide::kToMemory);
  EXPECT_EQ(channel->read_master(2), ide::kMasterInterrupt | ide::kMasterError);
  EXPECT_EQ(status(), kIdle | ide::kFailed);

  channel->write_master(0, 0);
  regions({{0xf000'0000, 512}});
  command(ide::kWriteDma);
  channel->write_master(0, ide::kStart);
  EXPECT_EQ(status(), kIdle | ide::kFailed);
  EXPECT_EQ(disk->kinds, std::vector<DiskRequest::Kind>{DiskRequest::Kind::kRead});
}

TEST_F(IdeDisk, FlushReachesTheMedium) {
  command(ide::kFlush);

  EXPECT_EQ(disk->kinds, std::vector<DiskRequest::Kind>{DiskRequest::Kind::kFlush});
  EXPECT_EQ(status(), kIdle);
  EXPECT_EQ(line.edges, 1u);
}

TEST_F(IdeDisk, InterruptsCanBeOff) {
  channel->write_control(ide::kNoInterrupts);
  address(0, 1);
  command(ide::kReadSectors);
  EXPECT_FALSE(line.level);

  channel->write_control(0);
  EXPECT_TRUE(line.level) << "it waited";
}

TEST_F(IdeDisk, AResetEndsWhatRuns) {
  address(0, 2);
  command(ide::kReadSectors);
  channel->write_control(ide::kSoftReset);
  EXPECT_EQ(channel->alternate_status(), ide::kBusy);

  channel->write_control(0);
  EXPECT_EQ(status(), kIdle);
  EXPECT_EQ(channel->read_data(2), 0xffff'ffffu);
}

TEST_F(IdeDisk, ACommandInTheMiddleIsSavedAndGoesOn) {
  address(3, 2);
  command(ide::kReadSectors);
  const auto first = take(100);
  channel->quiesce();
  const auto saved = channel->state();
  insert(saved);
  channel->resume();

  auto rest = take(924);
  rest.insert(rest.begin(), first.begin(), first.end());
  EXPECT_EQ(rest, part(disk->bytes, 3 * 512, 1024));
  EXPECT_EQ(status(), kIdle);
}

TEST_F(IdeDisk, ADriveThatIsNotThereSaysNothing) {
  cd.reset(), has_cdrom = false;
  insert({});
  select(1);

  EXPECT_EQ(status(), 0);
  command(ide::kIdentify);
  EXPECT_EQ(status(), 0);
}

TEST_F(IdeDisk, AnEmptyChannelFloats) {
  cd.reset(), has_cdrom = false, disk.reset();
  insert({});

  EXPECT_EQ(status(), 0x7f);
  command(ide::kIdentify);
  EXPECT_EQ(channel->alternate_status(), 0x7f);
}

}  // namespace
}  // namespace vellum::test
