#include "devices/legacy/isa_dma.hpp"

#include <numeric>

#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr unsigned kMaskChannel2 = 6, kOpenChannel2 = 2;

struct IsaDmaTest : testing::Test, DmaClient {
  IsaDmaTest() {
    dma->open_cascade();
    dma->connect(2, this);
  }
  void dma_opened() override { ++opened; }

  // Channel 2 as drivers set it up.
  void set_up(u32 address, u32 bytes, u8 mode) {
    out(dma->first_ports(), 10, kMaskChannel2);
    out(dma->first_ports(), 12, 0);
    out(dma->first_ports(), 11, mode | 2u);
    out(dma->first_ports(), 4, address & 0xff);
    out(dma->first_ports(), 4, address >> 8 & 0xff);
    out(dma->first_ports(), 5, (bytes - 1) & 0xff);
    out(dma->first_ports(), 5, (bytes - 1) >> 8);
    out(dma->page_ports(), 0, address >> 16);
    out(dma->first_ports(), 10, kOpenChannel2);
  }
  unsigned word(u64 reg) {
    const unsigned low = in(dma->first_ports(), reg);
    return low | unsigned{in(dma->first_ports(), reg)} << 8;
  }
  u8 byte(u64 at) { return *ram->host(GuestPhys(at)); }

  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(1 << 20));
  std::unique_ptr<IsaDma> dma = std::make_unique<IsaDma>(DmaView(*ram));
  std::vector<u8> data = [] {
    std::vector<u8> all(0x300);
    std::iota(all.begin(), all.end(), u8{1});
    return all;
  }();
  int opened = 0;
};

TEST_F(IsaDmaTest, BytesGoToMemoryUntilTheCountIsOver) {
  set_up(0x2ff0, 0x200, 0x44);

  const auto moved = dma->to_memory(2, data);

  EXPECT_EQ(moved.bytes, 0x200u);
  EXPECT_TRUE(moved.last);
  EXPECT_EQ(byte(0x2ff0), data[0]);
  EXPECT_EQ(byte(0x31ef), data[0x1ff]);
  EXPECT_EQ(byte(0x31f0), 0);
  EXPECT_FALSE(dma->open(2)) << "at the end the channel masks itself";
  EXPECT_EQ(in(dma->first_ports(), 8) & 0x0f, 0x04);
  EXPECT_EQ(in(dma->first_ports(), 8) & 0x0f, 0) << "reading forgets it";
}

TEST_F(IsaDmaTest, APieceLeavesTheRest) {
  set_up(0x2000, 0x200, 0x44);

  const auto moved = dma->to_memory(2, std::span(data).first(0x80));

  EXPECT_EQ(moved.bytes, 0x80u);
  EXPECT_FALSE(moved.last);
  EXPECT_TRUE(dma->open(2));
  EXPECT_EQ(word(4), 0x2080u);
  EXPECT_EQ(word(5), 0x17fu);
}

TEST_F(IsaDmaTest, BytesComeFromMemory) {
  for (u64 n = 0; n < 0x100; ++n) *ram->host(GuestPhys(0x5000 + n)) = static_cast<u8>(~n);
  set_up(0x5000, 0x100, 0x48);
  std::vector<u8> taken(0x80);

  dma->from_memory(2, taken);

  EXPECT_EQ(taken[0], 0xff);
  EXPECT_EQ(taken[0x7f], 0x80);
}

TEST_F(IsaDmaTest, AddressesStayInTheirPage) {
  set_up(0x1fff0, 0x20, 0x44);

  dma->to_memory(2, data);

  EXPECT_EQ(byte(0x1ffff), data[0xf]);
  EXPECT_EQ(byte(0x10000), data[0x10]);
  EXPECT_EQ(byte(0x20000), 0);
}

TEST_F(IsaDmaTest, AddressesMayGoDown) {
  set_up(0x3004, 8, 0x44 | 0x20);

  dma->to_memory(2, data);

  EXPECT_EQ(byte(0x3004), data[0]);
  EXPECT_EQ(byte(0x2ffd), data[7]);
  EXPECT_EQ(byte(0x2ffc), 0);
}

TEST_F(IsaDmaTest, AutoInitialisationBeginsAgain) {
  set_up(0x2000, 0x10, 0x54);

  EXPECT_TRUE(dma->to_memory(2, data).last);

  EXPECT_TRUE(dma->open(2));
  EXPECT_EQ(word(4), 0x2000u);
  EXPECT_EQ(word(5), 0xfu);
}

TEST_F(IsaDmaTest, VerifyingCountsAndStoresNothing) {
  set_up(0x2000, 0x10, 0x40);

  EXPECT_TRUE(dma->to_memory(2, data).last);

  EXPECT_EQ(byte(0x2000), 0);
}

TEST_F(IsaDmaTest, WhereThereIsNoRamNothingIsStoredAndOnesAreRead) {
  set_up(0xff'fff0, 0x10, 0x44);
  EXPECT_TRUE(dma->to_memory(2, data).last);
  set_up(0xff'fff0, 0x10, 0x48);
  std::vector<u8> taken(0x10);

  EXPECT_TRUE(dma->from_memory(2, taken).last);

  EXPECT_EQ(taken, std::vector<u8>(0x10, 0xff));
}

TEST_F(IsaDmaTest, ADeviceThatWaitsHearsThatItsChannelIsOpen) {
  out(dma->first_ports(), 10, kMaskChannel2);
  dma->request(2, true);
  EXPECT_EQ(in(dma->first_ports(), 8), 0x40);
  EXPECT_EQ(opened, 0);

  set_up(0x2000, 0x10, 0x44);

  EXPECT_EQ(opened, 1);
  dma->request(2, false);
  EXPECT_EQ(in(dma->first_ports(), 8), 0);
}

TEST_F(IsaDmaTest, TheFirstControllerPassesThroughTheSecond) {
  set_up(0x2000, 0x10, 0x44);
  EXPECT_TRUE(dma->open(2));

  out(dma->second_ports(), 0x14, 4);
  EXPECT_FALSE(dma->open(2)) << "the cascade is masked";
  out(dma->second_ports(), 0x14, 0);
  out(dma->second_ports(), 0x16, 0x00);
  EXPECT_FALSE(dma->open(2)) << "it does not cascade";
  out(dma->second_ports(), 0x16, 0xc0);
  EXPECT_TRUE(dma->open(2));
  out(dma->second_ports(), 0x10, 4);
  EXPECT_FALSE(dma->open(2)) << "it is disabled";
}

TEST_F(IsaDmaTest, MasterClearMasksEverything) {
  set_up(0x2000, 0x10, 0x44);
  out(dma->first_ports(), 4, 0x12);

  out(dma->first_ports(), 13, 0);

  EXPECT_FALSE(dma->open(2));
  EXPECT_EQ(in(dma->first_ports(), 15), 0xff);
  EXPECT_EQ(word(4), 0x2012u) << "the low byte comes first again";
}

TEST_F(IsaDmaTest, PageRegistersKeepWhatIsWritten) {
  for (unsigned n = 0; n < IsaDma::kPageCount; ++n) out(dma->page_ports(), n, 0x10 + n);
  for (unsigned n = 0; n < IsaDma::kPageCount; ++n) EXPECT_EQ(in(dma->page_ports(), n), 0x10 + n);
}

TEST_F(IsaDmaTest, GoesOnInTheMiddleWhenRestored) {
  set_up(0x2000, 0x200, 0x44);
  dma->to_memory(2, std::span(data).first(0x80));

  dma->connect(2, nullptr);
  dma = std::make_unique<IsaDma>(DmaView(*ram), *decode_state<IsaDma::State>(dma->save()));
  const auto moved = dma->to_memory(2, std::span(data).subspan(0x80));

  EXPECT_EQ(moved.bytes, 0x180u);
  EXPECT_TRUE(moved.last);
  EXPECT_EQ(byte(0x21ff), data[0x1ff]);
}

}  // namespace
}  // namespace vellum::test
