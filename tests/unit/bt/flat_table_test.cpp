// Attempts to get out of guest RAM, or past the guest's own page tables, through the flat tables. Each first
// makes a page's slot valid by ordinary accesses.
#include "long_guest.hpp"

namespace vellum::bt {
namespace {

// 4 KiB pages from kVirtual on, one table (4 levels) for them: page n of RAM's second MiB.
class FlatTable : public LongGuest {
 protected:
  static constexpr u64 kVirtual = u64{0x40'0000'0000}, kTables = 0xb000, kFrames = 0x100000;

  explicit FlatTable(std::string_view model = "x86-64-v2")
      : LongGuest({.cache_bytes = 4 << 20, .threshold = 0, .memory = Options::Memory::kFlat}, model) {
    map_directory(kVirtual);
  }
  // The 2 MiB of `address` get the same table.
  void map_directory(u64 address) {
    put64(kPml4 + 8 * bits(address, 47, 39), kPdpt | 3);
    put64(kPdpt + 8 * bits(address, 38, 30), kTables | 3);
    put64(kTables + 8 * bits(address, 29, 21), (kTables + 0x1000) | 3);
  }
  void SetUp() override {
    if (!has_flat_tables(engine_)) GTEST_SKIP() << "this host has no room for flat tables";
  }
  void map(u64 page, u64 frame, u64 bits = 3) {
    put64(kTables + 0x1000 + 8 * page, (kFrames + frame * 0x1000) | bits);
  }
  static u64 page(u64 n) { return kVirtual + n * kPageSize; }

  // loop: MOV RAX, [RBX]; DEC ECX; JNZ loop; HLT, `rounds` times from `address`.
  void read(u64 address, u64 rounds = 20) {
    code({0x48, 0x8b, 0x03, 0xff, 0xc9, 0x75, 0xf9, 0xf4});
    start(address, rounds);
  }
  void write(u64 address, u64 rounds = 20) {
    code({0x48, 0x89, 0x03, 0xff, 0xc9, 0x75, 0xf9, 0xf4});
    start(address, rounds);
  }
  void start(u64 address, u64 rounds) {
    state_.rip = kCode;
    state_.gpr[x86::kRsp] = kStack;
    state_.gpr[x86::kRbx] = address;
    state_.gpr[x86::kRcx] = rounds;
    state_.activity = Activity::kRunning;
    run();
  }
};

TEST_F(FlatTable, AFilledPageIsReachedWithoutAFurtherFault) {
  map(0, 0);
  put64(kFrames, 0x1234);
  read(page(0), 10'000);
  EXPECT_EQ(rax(), 0x1234u);
  EXPECT_GT(count("pages entered in flat tables"), 0u);
  EXPECT_LT(count("host faults in translated code"), 5u);
}

class FlatTableWithBmi : public FlatTable {
 protected:
  FlatTableWithBmi() : FlatTable("x86-64-v3") {}
};

// The table leaves one scratch register, and these two are both in memory while translated code runs.
TEST_F(FlatTableWithBmi, TwoResultsThatTheHostHasInMemory) {
  constexpr u64 kLeft = 0xfedc'ba98'7654'3210, kRight = 0x1234'0000'0005;
  map(0, 0);
  put64(kFrames, kLeft);
  // loop: MULX R11, R14, [RBX]; DEC ECX; JNZ loop; HLT
  code({0xc4, 0x62, 0x8b, 0xf6, 0x1b, 0xff, 0xc9, 0x75, 0xf7, 0xf4});
  state_.gpr[x86::kRdx] = kRight;
  start(page(0), 20);
  const auto product = static_cast<unsigned __int128>(kLeft) * kRight;
  EXPECT_EQ(state_.gpr[x86::kR11], static_cast<u64>(product >> 64));
  EXPECT_EQ(state_.gpr[x86::kR14], static_cast<u64>(product));
}

// Trap 1: the index has 32 bits, so addresses that differ in bits 63..43 only share a slot.
TEST_F(FlatTable, AddressesWithTheSameIndexAreNotThePage) {
  map(0, 0);
  put64(kFrames, 0x1234);
  for (unsigned bit = 43; bit < 64; ++bit) {
    read(page(0));
    ASSERT_EQ(rax(), 0x1234u);
    state_.gpr[x86::kRax] = 1;
    read(page(0) ^ (u64{1} << bit));
    EXPECT_EQ(halted_in_handler(), bit < 47 ? x86::kPf : x86::kGp) << bit;
    EXPECT_EQ(rax(), 1u) << bit;
  }
  for (u64 echo = 1; echo < 16; ++echo) {
    read(page(0));
    state_.gpr[x86::kRax] = 1;
    write(page(0) + (echo << 43), 3);
    EXPECT_EQ(halted_in_handler(), x86::kPf) << echo;
    EXPECT_EQ(state_.cr2, page(0) + (echo << 43));
    EXPECT_EQ(at64(kFrames), 0x1234u) << echo;
  }
  read(page(0));
  state_.gpr[x86::kRax] = 1;
  read(page(0) | ~((u64{1} << 47) - 1));  // canonical, of the upper half, and not mapped
  EXPECT_EQ(halted_in_handler(), x86::kPf);
  EXPECT_EQ(state_.cr2, page(0) | ~((u64{1} << 47) - 1));
}

TEST_F(FlatTable, PagesWithTheSameIndexTakeTurns) {
  constexpr u64 kDistance = u64{1} << 43;
  map_directory(kVirtual + kDistance);
  map(0, 4);
  map(1, 5);
  put64(kFrames + 4 * kPageSize, 0x1234);
  put64(kFrames + 5 * kPageSize, 0x5678);
  // loop: MOV RAX, [RBX]; ADD RAX, [RBX + RDX]; ADD [RBX + RDX], RCX; DEC ECX; JNZ loop; HLT
  code({0x48, 0x8b, 0x03, 0x48, 0x03, 0x04, 0x13, 0x48, 0x01, 0x0c, 0x13, 0xff, 0xc9, 0x75, 0xf1, 0xf4});
  state_.gpr[x86::kRdx] = kDistance + kPageSize;
  start(page(0), 1'000);
  EXPECT_EQ(rax(), 0x1234u + 0x5678 + 1000 * 1001 / 2 - 1);
  EXPECT_EQ(at64(kFrames + 4 * kPageSize), 0x1234u);
  state_.gpr[x86::kRdx] = kDistance;  // now of one index, and one page
  start(page(0), 1'000);
  EXPECT_EQ(at64(kFrames + 4 * kPageSize), 0x1234u + 1000 * 1001 / 2);
}

// So many operands take turns that none of them has faults in quick succession.
TEST_F(FlatTable, OperandsWhosePagesTakeTurnsAreLookedUp) {
  constexpr u64 kDistance = u64{1} << 43, kPairs = 100, kRounds = 300;
  map_directory(kVirtual + kDistance);
  map(0, 4);
  put64(kFrames + 4 * kPageSize, 0x1234);
  // kPairs times MOV RAX, [RBX]; MOV RAX, [RBX + RDX]; then DEC ECX; JNZ to the first; HLT
  u64 at = kCode;
  for (u64 n = 0; n < kPairs; ++n, at += 7) code({0x48, 0x8b, 0x03, 0x48, 0x8b, 0x04, 0x13}, at);
  const auto back = static_cast<u32>(kCode - (at + 8));
  code({0xff, 0xc9, 0x0f, 0x85, static_cast<u8>(back), static_cast<u8>(back >> 8),
        static_cast<u8>(back >> 16), static_cast<u8>(back >> 24), 0xf4},
       at);
  state_.gpr[x86::kRdx] = kDistance;
  start(page(0), kRounds);
  EXPECT_EQ(rax(), 0x1234u);
  EXPECT_LT(count("host faults in translated code"), 2 * kPairs * 10);
}

// Pages that are entered ahead do not take turns.
TEST_F(FlatTable, NeighboursOfPagesWithTheSameIndexDoNotMatter) {
  constexpr u64 kDistance = (u64{1} << 43) + 3 * kPageSize;
  map_directory(kVirtual + kDistance);
  for (u64 n = 0; n < 8; ++n) map(n, n, 0x23);  // accessed
  // loop: MOV RAX, [RBX]; ADD RAX, [RBX + RDX]; DEC ECX; JNZ loop; HLT
  code({0x48, 0x8b, 0x03, 0x48, 0x03, 0x04, 0x13, 0xff, 0xc9, 0x75, 0xf5, 0xf4});
  state_.gpr[x86::kRdx] = kDistance;
  start(page(0), 1'000);
  EXPECT_LT(count("host faults in translated code"), 6u);
  EXPECT_EQ(count("memory operands looked up instead"), 0u);
}

// Trap 2: whatever the upper bits are, the sum with an absent slot reaches nothing of the host's. If it did,
// the access would not be a guest fault (or Vellum would die of it).
TEST_F(FlatTable, NoUpperBitsMakeAnAbsentSlotReachTheHost) {
  map(1, 1);
  read(page(1));  // the part of the table is there now, page 0 is absent in it
  for (u64 upper = 0; upper < (u64{1} << 21); upper += upper < 64 ? 1 : 509) {
    const u64 address = page(0) | upper << 43;
    state_.gpr[x86::kRax] = 1;
    read(address, 1);
    ASSERT_EQ(halted_in_handler(), x86::is_canonical(address) ? x86::kPf : x86::kGp) << upper;
    ASSERT_EQ(rax(), 1u);
  }
}

// Trap 3: an access that begins in a filled page and ends in another one.
TEST_F(FlatTable, AnAccessAcrossPagesSeesBothPages) {
  map(0, 5);
  map(1, 3);  // not the next one in RAM
  for (unsigned n = 0; n < 8; ++n) {
    ram_->host(GuestPhys(kFrames + 5 * kPageSize + 0xff8))[n] = static_cast<u8>(n);
    ram_->host(GuestPhys(kFrames + 3 * kPageSize))[n] = static_cast<u8>(0x80 + n);
    ram_->host(GuestPhys(kFrames + 6 * kPageSize))[n] = 0xee;
  }
  read(page(0));
  read(page(1));
  for (u64 offset = 1; offset < 8; ++offset) {
    read(page(0) + 0xff8 + offset);
    u64 expected = 0;
    for (u64 n = 0; n < 8; ++n) {
      const u64 at = offset + n;
      expected |= (at < 8 ? at : 0x80 + at - 8) << (8 * n);
    }
    EXPECT_EQ(rax(), expected) << offset;
  }
}

// Operands that share a slot (share.cpp). In one page they need no further fault; in two each sees its own
// page, and after a few faults they share no more.
TEST_F(FlatTable, OperandsThatShareASlotMayLieInTwoPages) {
  map(0, 5);
  map(1, 3);  // not the next one in RAM
  put64(kFrames + 5 * kPageSize + 0xfd0, 0x100);
  put64(kFrames + 5 * kPageSize + 0xff0, 0x200);
  put64(kFrames + 3 * kPageSize + 0x010, 0x400);
  put64(kFrames + 6 * kPageSize + 0x010, 0xee00);
  // loop: MOV RAX, [RBX]; ADD RAX, [RBX + 0x20]; DEC ECX; JNZ loop; HLT
  code({0x48, 0x8b, 0x03, 0x48, 0x03, 0x43, 0x20, 0xff, 0xc9, 0x75, 0xf5, 0xf4});
  start(page(0) + 0xfd0, 10'000);
  EXPECT_EQ(rax(), 0x300u);
  EXPECT_EQ(count("memory operands looked up instead"), 0u);
  EXPECT_LT(count("host faults in translated code"), 5u);
  for (u64 rounds = 1; rounds < 6; ++rounds) {
    start(page(0) + 0xff0, rounds);
    EXPECT_EQ(rax(), 0x600u) << rounds;
  }
  start(page(0) + 0xff0, 10'000);
  EXPECT_EQ(rax(), 0x600u);
  EXPECT_EQ(count("memory operands looked up instead"), 1u);
  EXPECT_LT(count("host faults in translated code"), 40u);
  start(page(0) + 0xfd0, 20);
  EXPECT_EQ(rax(), 0x300u);
}

// What is added to the register between the operands counts: without it the second would be taken for the
// first's neighbour, and find what follows its page in RAM.
TEST_F(FlatTable, TheRegisterOfASharedSlotMayMoveOn) {
  map(0, 5);
  map(1, 3);
  put64(kFrames + 5 * kPageSize + 0xff0, 0x200);
  put64(kFrames + 3 * kPageSize + 0x010, 0x400);
  put64(kFrames + 6 * kPageSize + 0x010, 0xee00);
  // MOV RAX, [RBX]; ADD RBX, 0x20; ADD RAX, [RBX]; HLT. Then LEA RBX, [RBX + 0x20], then SUB RBX, -0x20.
  const std::initializer_list<int> moves[] = {
      {0x48, 0x8b, 0x03, 0x48, 0x83, 0xc3, 0x20, 0x48, 0x03, 0x03, 0xf4},
      {0x48, 0x8b, 0x03, 0x48, 0x8d, 0x5b, 0x20, 0x48, 0x03, 0x03, 0xf4},
      {0x48, 0x8b, 0x03, 0x48, 0x83, 0xeb, 0xe0, 0x48, 0x03, 0x03, 0xf4}};
  for (const auto& move : moves) {
    code(move);
    for (unsigned n = 0; n < 3; ++n) {
      start(page(0) + 0xff0, 1);
      EXPECT_EQ(rax(), 0x600u);
    }
  }
}

TEST_F(FlatTable, OfOperandsThatShareASlotOneMayFault) {
  map(0, 5);
  put64(kFrames + 5 * kPageSize + 0xff0, 0x200);
  code({0x48, 0x8b, 0x03, 0x48, 0x03, 0x43, 0x20, 0xff, 0xc9, 0x75, 0xf5, 0xf4});
  start(page(0) + 0xf00, 20);
  state_.gpr[x86::kRax] = 1;
  start(page(0) + 0xff0, 1);
  EXPECT_EQ(halted_in_handler(), x86::kPf);
  EXPECT_EQ(state_.cr2, page(1) + 0x10);
  EXPECT_EQ(rax(), 0x200u);
}

TEST_F(FlatTable, AnAccessIntoAnAbsentPageFaultsThere) {
  map(0, 5);
  for (u64 offset = 1; offset < 8; ++offset) {
    write(page(0), 5);
    write(page(0) + 0xff8 + offset, 5);
    EXPECT_EQ(halted_in_handler(), x86::kPf) << offset;
    EXPECT_EQ(state_.cr2, page(1));
  }
}

TEST_F(FlatTable, AnAccessAcrossTheEndOfTheLowerHalfFaults) {
  // The last page of the lower half: PML4 entry 255.
  put64(kPml4 + 8 * 255, kPdpt | 3);
  put64(kPdpt + 8 * 511, kTables | 3);
  put64(kTables + 8 * 511, (kTables + 0x1000) | 3);
  map(511, 7);
  const u64 last = (u64{1} << 47) - kPageSize;
  put64(kFrames + 7 * kPageSize + 0xff8, 42);
  read(last + 0xff8);
  EXPECT_EQ(rax(), 42u);
  for (u64 offset = 1; offset < 8; ++offset) {
    read(last + 0xff8 + offset, 3);
    EXPECT_EQ(halted_in_handler(), x86::kGp) << offset;
  }
}

TEST_F(FlatTable, AReadOnlyPageIsNotWritten) {
  map(0, 0, 1);
  state_.cr0 |= x86::cr0::kWp;
  read(page(0));
  state_.gpr[x86::kRax] = 99;
  write(page(0), 3);
  EXPECT_EQ(halted_in_handler(), x86::kPf);
  EXPECT_EQ(at64(kFrames), 0u);
}

// A page that was only read has no dirty bit; the first write must set it.
TEST_F(FlatTable, TheFirstWriteSetsTheDirtyBit) {
  map(0, 0);
  read(page(0));
  EXPECT_EQ(at64(kTables + 0x1000) & 0x60, 0x20u);
  write(page(0));
  EXPECT_EQ(at64(kTables + 0x1000) & 0x60, 0x60u);
}

TEST_F(FlatTable, InvlpgTakesAPageAway) {
  map(0, 0);
  put64(kFrames, 1);
  put64(kFrames + kPageSize, 2);
  read(page(0));
  EXPECT_EQ(rax(), 1u);
  map(0, 1);
  // INVLPG [RBX]; MOV RAX, [RBX]; HLT
  code({0x0f, 0x01, 0x3b, 0x48, 0x8b, 0x03, 0xf4}, 0x9800);
  state_.rip = 0x9800;
  state_.gpr[x86::kRbx] = page(0);
  state_.activity = Activity::kRunning;
  run();
  EXPECT_EQ(rax(), 2u);
}

TEST_F(FlatTable, MovToCr3TakesPagesThatAreNotGlobalAway) {
  map(0, 0);
  put64(kFrames, 1);
  put64(kFrames + kPageSize, 2);
  read(page(0));
  map(0, 1);
  // MOV RAX, CR3; MOV CR3, RAX; MOV RAX, [RBX]; HLT
  code({0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x48, 0x8b, 0x03, 0xf4}, 0x9800);
  for (unsigned n = 0; n < 3; ++n) {
    state_.rip = 0x9800;
    state_.gpr[x86::kRbx] = page(0);
    state_.activity = Activity::kRunning;
    run();
  }
  EXPECT_EQ(rax(), 2u);
}

TEST_F(FlatTable, DataBesideCodeIsWrittenAndStaysWritable) {
  // The loop writes 1 KiB behind itself, in its own page.
  write(kCode + 0x400, 2'000);
  EXPECT_EQ(state_.activity, Activity::kHalted);
  EXPECT_GT(count("memory operands looked up instead"), 0u);
  EXPECT_LT(count("host faults in translated code"), 10u) << "the operand is looked up instead";
}

TEST_F(FlatTable, FlagsInHostRegistersSurviveAFault) {
  map(0, 0);
  // STC; MOV RAX, [RBX]; ADC RCX, 0; HLT: the load's page is not in the table yet
  code({0xf9, 0x48, 0x8b, 0x03, 0x48, 0x83, 0xd1, 0x00, 0xf4});
  start(page(0), 7);
  EXPECT_EQ(state_.gpr[x86::kRcx], 8u);
  // CMP RCX, RCX; MOV RAX, [RBX + 8 KiB], not mapped: ZF and PF are pushed
  code({0x48, 0x39, 0xc9, 0x48, 0x8b, 0x83, 0x00, 0x20, 0x00, 0x00});
  start(page(0), 7);
  EXPECT_EQ(halted_in_handler(), x86::kPf);
  EXPECT_EQ(frame()[3] & x86::rflags::kArithmetic, x86::rflags::kZf | x86::rflags::kPf);
}

TEST_F(FlatTable, ACallAndAReturnWhoseStackComesLate) {
  map(0, 0);
  // MOV RSP, RBX; CALL +1; HLT; RET
  code({0x48, 0x89, 0xdc, 0xe8, 0x01, 0, 0, 0, 0xf4, 0xc3});
  start(page(0) + 0x100, 1);
  EXPECT_EQ(state_.activity, Activity::kHalted);
  EXPECT_EQ(state_.gpr[x86::kRsp], page(0) + 0x100);
  EXPECT_EQ(at64(kFrames + 0xf8), kCode + 8);
}

}  // namespace
}  // namespace vellum::bt
