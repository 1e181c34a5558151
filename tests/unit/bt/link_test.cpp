// Links between pages hold for one mapping and privilege each.
#include "two_pages_guest.hpp"

namespace vellum::bt {
namespace {

using BtLink = TwoPagesGuest;

TEST_F(BtLink, LoopOverTwoPagesStaysInTranslatedCode) {
  jump(kCode, kCode, kFar);
  state_.gpr[x86::kRcx] = 10'000;
  run();
  EXPECT_EQ(rax(), 10'000u);
  EXPECT_EQ(ran_, 50'001u);
  EXPECT_LT(count("entries"), 20u);
}

TEST_F(BtLink, BudgetIsExactInALoopOverTwoPages) {
  jump(kCode, kCode, kFar);
  for (const u64 n : {1, 4, 5, 6, 1003}) {
    state_.gpr[x86::kRax] = 0;
    state_.gpr[x86::kRcx] = 100'000;
    state_.rip = kCode;
    EXPECT_TRUE(std::holds_alternative<exit::BudgetSpent>(run(n)));
    EXPECT_EQ(ran_, n);
    EXPECT_EQ(rax(), (n + 3) / 5);
  }
}

TEST_F(BtLink, InvlpgOfTheTargetsPageTakesEffect) {
  code({0x0f, 0x01, 0x3a}, kCode);  // INVLPG [RDX]
  jump(kCode + 3, kCode + 3, kFar);
  state_.gpr[x86::kRdx] = kFar;
  state_.gpr[x86::kRcx] = 100;
  run();
  put64(0x5000, (kData + 0x1000) | 3);
  run_again(kCode, 77);
  EXPECT_EQ(rax(), 100u);
  EXPECT_EQ(state_.gpr[x86::kRbx], 77u);
}

TEST_F(BtLink, EachAddressSpaceGoesToItsOwnPage) {
  constexpr u64 kOther = 0x30000;
  map(kOther, kData + 0x1000);
  code({0x0f, 0x22, 0xde, 0x48, 0x87, 0xf7}, kCode);  // MOV CR3, RSI; XCHG RDI, RSI
  jump(kCode + 6, kCode + 6, kFar);
  state_.gpr[x86::kRsi] = kOther;
  state_.gpr[x86::kRdi] = kPml4;
  state_.gpr[x86::kRcx] = 1001;
  run();
  EXPECT_EQ(state_.gpr[x86::kRbx], 501u);
  EXPECT_EQ(rax(), 500u);
}

TEST_F(BtLink, EachPcidFindsItsOwnPageAgainWithoutLeaving) {
  constexpr u64 kOther = 0x30000;
  map(kOther, kData + 0x1000);
  code({0x0f, 0x22, 0xde, 0x48, 0x87, 0xf7}, kCode);
  jump(kCode + 6, kCode + 6, kFar);
  state_.cr4 |= x86::cr4::kPcide;
  state_.gpr[x86::kRsi] = kOther | 1 | u64{1} << 63;  // NOFLUSH
  state_.gpr[x86::kRdi] = kPml4 | u64{1} << 63;
  state_.gpr[x86::kRcx] = 1001;
  run();
  EXPECT_EQ(state_.gpr[x86::kRbx], 501u);
  EXPECT_EQ(rax(), 500u);
  EXPECT_LT(count("entries"), 40u);
}

class BtCrossingLink : public TwoPagesGuest, public ::testing::WithParamInterface<Options::Count> {
 protected:
  BtCrossingLink() : TwoPagesGuest({.cache_bytes = 4 << 20, .threshold = 0, .count = GetParam()}) {}

  /// A loop within kFar's page but for the instruction: INVLPG [RDX], then RCX rounds.
  void loop_within_page() {
    code({0x0f, 0x01, 0x3a, 0xff, 0xc9, 0x79, 0x01, 0xf4}, kData + 0x10);  // INVLPG [RDX]; DEC ECX; JNS; HLT
    jump(kData + 0x18, kFar + 0x18, kCrossing);
    cross(kFar + 0x13);
    state_.gpr[x86::kRdx] = kFar + 0x1000;
    state_.gpr[x86::kRcx] = 100;
    state_.rip = kFar + 0x10;
  }
  void expect_counts(u64 rax, u64 rbx) const {
    EXPECT_EQ(state_.gpr[x86::kRax], rax);
    EXPECT_EQ(state_.gpr[x86::kRbx], rbx);
  }
};

INSTANTIATE_TEST_SUITE_P(Counted, BtCrossingLink,
                         ::testing::Values(Options::Count::kOn, Options::Count::kOff));

TEST_P(BtCrossingLink, InstructionsAreSaidWhereTheyAreCounted) {
  loop_within_page();
  run();
  EXPECT_EQ(engine_.retired() != 0, GetParam() == Options::Count::kOn);
}

TEST_P(BtCrossingLink, LoopStaysInTranslatedCode) {
  loop_within_page();
  state_.gpr[x86::kRcx] = 10'000;
  run();
  expect_counts(10'000, 0);
  EXPECT_LT(count("entries"), 20u);
}

TEST_P(BtCrossingLink, InvlpgOfTheSecondPageTakesEffect) {
  loop_within_page();
  run();
  map_second(kPml4, kCountsRbx);
  run_again(kFar + 0x10, 77);
  expect_counts(100, 77);
}

TEST_P(BtCrossingLink, StoreToTheSecondPageTakesEffect) {
  loop_within_page();
  run();
  code({0xc3}, kCountsRax);
  ram_->note_store(GuestPhys(kCountsRax), 1);
  run_again(kFar + 0x13, 77);
  expect_counts(100, 77);
}

TEST_P(BtCrossingLink, EachAddressSpaceHasItsOwnSecondPage) {
  constexpr u64 kOther = 0x30000;
  map(kOther, kData);
  map_second(kOther, kCountsRbx);
  code({0x0f, 0x22, 0xde, 0x48, 0x87, 0xf7}, kCode);  // MOV CR3, RSI; XCHG RDI, RSI
  jump(kCode + 6, kCode + 6, kCrossing);
  cross(kBack);
  state_.gpr[x86::kRsi] = kOther;
  state_.gpr[x86::kRdi] = kPml4;
  state_.gpr[x86::kRcx] = 1001;
  run();
  expect_counts(500, 501);
}

}  // namespace
}  // namespace vellum::bt
