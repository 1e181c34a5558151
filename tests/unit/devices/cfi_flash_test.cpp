// The flash chip that UEFI keeps its variables in.
#include "devices/legacy/cfi_flash.hpp"

#include <algorithm>
#include <optional>

#include "fixture.hpp"

namespace vellum::test {
namespace {

constexpr u64 kSize = 4 * CfiFlash::kBlock;
constexpr u64 kStart = 0xffc0'0000;

class Kept final : public FlashContents {
 public:
  std::span<const u8> bytes() const override { return all; }
  bool store(u64 offset, std::span<const u8> bytes) override {
    if (!works) return false;
    std::ranges::copy(bytes, all.begin() + static_cast<long>(offset));
    return true;
  }
  std::vector<u8> all = std::vector<u8>(kSize, 0xff);
  bool works = true;
};

struct CfiFlashTest : testing::Test {
  CfiFlashTest() { kept.all[0] = 'f'; }
  void insert(const CfiFlash::State& state = CfiFlash::State()) {
    ram = std::move(*GuestRam::create(1 << 20, kSize));
    flash.emplace(*ram, ram->add_block(kSize), GuestPhys(kStart), kept, state);
  }
  /// As a vCPU reads: what is mapped, else the device.
  u8 read(u64 at) {
    const u8* const host = ram->host(GuestPhys(kStart + at));
    return host != nullptr ? *host : static_cast<u8>(flash->read(at, 1));
  }
  void write(u64 at, u8 value) {
    ASSERT_EQ(ram->store_host(GuestPhys(kStart + at)), nullptr);
    flash->write(at, 1, value);
  }
  void program(u64 at, u8 value) {
    write(at, 0x10);
    write(at, value);
    write(at, 0xff);
  }
  CfiFlash::State saved() { return *decode_state<CfiFlash::State>(flash->save()); }

  Kept kept;
  std::unique_ptr<GuestRam> ram;
  std::optional<CfiFlash> flash;
};

TEST_F(CfiFlashTest, AtPowerOnTheContentsAreMapped) {
  insert();

  ASSERT_NE(ram->host(GuestPhys(kStart)), nullptr);
  EXPECT_EQ(read(0), 'f');
  EXPECT_EQ(read(kSize - 1), 0xff);
  EXPECT_EQ(ram->host(GuestPhys(kStart + kSize)), nullptr);
}

// As OVMF's QemuFlashFvbServicesRuntimeDxe finds out that it is flash.
TEST_F(CfiFlashTest, AnswersOvmfsProbe) {
  insert();

  write(0, 0x50);
  EXPECT_EQ(read(0), 'f');
  write(0, 0x70);
  EXPECT_EQ(read(0), 0);
  write(0, 0xff);
  EXPECT_EQ(read(0), 'f');
}

TEST_F(CfiFlashTest, ProgrammingClearsBitsAndIsKept) {
  insert();

  program(0x1234, 0xf3);
  program(0x1234, 0x3f);

  EXPECT_EQ(read(0x1234), 0x33);
  EXPECT_EQ(kept.all[0x1234], 0x33);
}

TEST_F(CfiFlashTest, ErasingSetsAWholeBlock) {
  insert();
  program(0x1fff, 1);
  program(0x2000, 2);
  program(0x2fff, 3);

  write(0x2345, 0x20);
  write(0x2345, 0xd0);
  EXPECT_EQ(read(0x2345), 0x80);
  write(0, 0xff);

  EXPECT_EQ(read(0x1fff), 1);
  EXPECT_EQ(read(0x2000), 0xff);
  EXPECT_EQ(read(0x2fff), 0xff);
  EXPECT_EQ(kept.all[0x2000], 0xff);
}

TEST_F(CfiFlashTest, AnEraseThatIsNotConfirmedIsAnErrorAndErasesNothing) {
  insert();

  write(0, 0x20);
  write(0, 0xff);

  EXPECT_EQ(read(0), 0xb0);
  write(0, 0x50);
  EXPECT_EQ(read(0), 'f');
}

TEST_F(CfiFlashTest, AnAccessOfFourBytesIsFourCommands) {
  insert();

  flash->write(0x100, 4, 0xff'00'10'70);  // read status; program 0x00; read array
  EXPECT_EQ(read(0x102), 0x00);
  EXPECT_EQ(read(0x101), 0xff);
}

TEST_F(CfiFlashTest, AHostThatFailsIsAProgramErrorAndAnEraseError) {
  insert();
  kept.works = false;

  write(5, 0x40);
  write(5, 0);
  EXPECT_EQ(read(5), 0x90);
  write(5, 0x50);
  EXPECT_EQ(read(5), 0xff);
  write(0, 0x20);
  write(0, 0xd0);
  EXPECT_EQ(read(0), 0xa0);
  write(0, 0xff);
  EXPECT_EQ(read(0), 'f');
}

TEST_F(CfiFlashTest, IdsAndTheQueryTableAreRead) {
  insert();

  write(0, 0x90);
  EXPECT_EQ(read(0), 0x89);
  EXPECT_EQ(read(1), 0x18);
  write(0, 0x98);
  EXPECT_EQ(read(0x0f), 0);
  EXPECT_EQ(read(0x10), 'Q');
  EXPECT_EQ(read(0x11), 'R');
  EXPECT_EQ(read(0x12), 'Y');
  EXPECT_EQ(read(0x13), 1);
  EXPECT_EQ(u64{1} << read(0x27), kSize);
  EXPECT_EQ(read(0x2d) + 1u, kSize / CfiFlash::kBlock);
  EXPECT_EQ(read(0x2f) * 256u, CfiFlash::kBlock);
  EXPECT_EQ(read(read(0x15)), 'P');
  EXPECT_EQ(read(kSize - 1), 0);
}

TEST_F(CfiFlashTest, SavedInMidEraseItGoesOnWhereItWas) {
  insert();
  program(0x1000, 7);
  write(0x1000, 0x20);
  const CfiFlash::State state = saved();
  kept.all.assign(kSize, 0);  // another host

  insert(state);
  EXPECT_EQ(read(0x1000), 0x80);  // the status
  write(0x1000, 0xd0);
  write(0, 0xff);

  EXPECT_EQ(read(0), 'f');
  EXPECT_EQ(read(0x1000), 0xff);
  EXPECT_EQ(kept.all[0], 'f');
}

TEST_F(CfiFlashTest, ADamagedStateIsMadeSound) {
  CfiFlash::State state;
  state.contents = {1, 2, 3};
  state.mode = static_cast<CfiFlash::Mode>(200);
  state.pending = static_cast<CfiFlash::Pending>(99);
  insert(state);

  EXPECT_EQ(read(0), 0x80);
  write(0, 0xff);
  EXPECT_EQ(read(0), 'f');
}

}  // namespace
}  // namespace vellum::test
