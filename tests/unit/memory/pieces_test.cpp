// GuestRam::pieces() against look-ups of single pages.
#include <gtest/gtest.h>

#include "memory/guest_ram.hpp"

namespace vellum {
namespace {

using Piece = GuestRam::Piece;
using Kind = GuestRam::Behind::Kind;
constexpr u64 kMib = u64{1} << 20;
constexpr GuestPhys kBios{0xf0000};

struct Pieces : ::testing::Test {
  u8* low(u64 offset) const { return ram->host(GuestPhys(0)) + offset; }
  u8* block(unsigned n, u64 offset = 0) const { return ram->block_bytes(n).data() + offset; }
  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(2 * kMib, 0x20000));
  unsigned rom = ram->add_block(0x10000), display = ram->add_block(0x10000);
};

TEST_F(Pieces, RamAloneIsOnePiece) {
  EXPECT_EQ(ram->pieces(), (std::vector<Piece>{{{GuestPhys(0), 2 * kMib}, low(0), true}}));
}

TEST_F(Pieces, HighRamIsASecondOne) {
  const auto large = std::move(*GuestRam::create(GuestRam::kLowRamLimit + kMib));

  const auto pieces = large->pieces();

  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(pieces[1].range, (GuestPhysRange{GuestPhys(GuestRam::kHighRamStart), kMib}));
  EXPECT_EQ(pieces[1].host, large->host(GuestPhys(GuestRam::kHighRamStart)));
}

TEST_F(Pieces, RomUnderAWindowOfTheBus) {
  ram->map_block(rom, GuestPhys(0xffff0000), Pmap::Access::kRead);
  ram->map_shadow({GuestPhys(0xa0000), 0x20000}, {}, {});
  ram->map_shadow({kBios, 0x10000}, {.kind = Kind::kBlock, .block = rom}, {.kind = Kind::kRam});

  EXPECT_EQ(ram->pieces(), (std::vector<Piece>{{{GuestPhys(0), 0xa0000}, low(0), true},
                                               {{GuestPhys(0xc0000), 0x30000}, low(0xc0000), true},
                                               {{kBios, 0x10000}, block(rom), false},
                                               {{GuestPhys(kMib), kMib}, low(kMib), true},
                                               {{GuestPhys(0xffff0000), 0x10000}, block(rom), false}}));
}

TEST_F(Pieces, RamThatReadsDoNotFindIsNone) {
  ram->map_shadow({kBios, 0x10000}, {}, {.kind = Kind::kRam});

  EXPECT_EQ(ram->pieces(), (std::vector<Piece>{{{GuestPhys(0), 0xf0000}, low(0), true},
                                               {{GuestPhys(kMib), kMib}, low(kMib), true}}));
}

TEST_F(Pieces, OfOverlappingBlocksReadsFindTheFirst) {
  ram->map_block(rom, GuestPhys(0xe0004000), Pmap::Access::kRead);
  ram->map_block(display, GuestPhys(0xe0000000), Pmap::Access::kReadWrite);

  const auto pieces = ram->pieces();

  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_EQ(pieces[1], (Piece{{GuestPhys(0xe0000000), 0x4000}, block(display), true}));
  EXPECT_EQ(pieces[2], (Piece{{GuestPhys(0xe0004000), 0x10000}, block(rom), false}));
}

TEST_F(Pieces, BlocksOverRamAndOutOfReachAreNone) {
  ram->map_block(rom, GuestPhys(2 * kMib - 0x8000), Pmap::Access::kReadWrite);
  ram->map_block(display, GuestPhys(~u64{0xffff}), Pmap::Access::kReadWrite);

  EXPECT_EQ(ram->pieces(), (std::vector<Piece>{{{GuestPhys(0), 2 * kMib}, low(0), true},
                                               {{GuestPhys(2 * kMib), 0x8000}, block(rom, 0x8000), true}}));
}

}  // namespace
}  // namespace vellum
