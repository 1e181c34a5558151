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
  VcpuState& s = engine_.vcpu().state;  // not by push(), which flushes
  s.activity = Activity::kRunning;
  s.rip = kCode;
  s.gpr[x86::kRcx] = 77;
  resume();
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

// The instruction at kFar + 0xffe is INC RAX or INC RBX, which the second page decides.
class BtCrossingLink : public TwoPagesGuest {
 protected:
  static constexpr u64 kCrossing = kFar + 0xffe;
  static constexpr u64 kCountsRax = kData + 0x1000, kCountsRbx = kData + 0x2000;

  BtCrossingLink() {
    map_second(kPml4, kCountsRax);
    code({0x48, 0xff}, kData + 0xffe);
    code({0xc0}, kCountsRax);
    code({0xc3}, kCountsRbx);
  }
  void map_second(u64 pml4, u64 physical) {
    put64((pml4 == kPml4 ? 0x5000 : pml4 + 0x3000) + 8, physical | 3);
  }
  /// What follows it.
  void then_jump(u64 target) {
    for (const u64 page : {kCountsRax, kCountsRbx}) jump(page + 1, kFar + 0x1001, target);
  }
  /// A loop within kFar's page but for that instruction: INVLPG [RDX], then RCX rounds.
  void loop_within_page() {
    code({0x0f, 0x01, 0x3a, 0xff, 0xc9, 0x79, 0x01, 0xf4}, kData + 0x10);  // INVLPG [RDX]; DEC ECX; JNS; HLT
    jump(kData + 0x18, kFar + 0x18, kCrossing);
    then_jump(kFar + 0x13);
    state_.gpr[x86::kRdx] = kFar + 0x1000;
    state_.rip = kFar + 0x10;
  }
};

TEST_F(BtCrossingLink, LoopStaysInTranslatedCode) {
  loop_within_page();
  state_.gpr[x86::kRcx] = 10'000;
  run();
  EXPECT_EQ(rax(), 10'000u);
  EXPECT_LT(count("entries"), 20u);
}

TEST_F(BtCrossingLink, InvlpgOfTheSecondPageTakesEffect) {
  loop_within_page();
  state_.gpr[x86::kRcx] = 100;
  run();
  map_second(kPml4, kCountsRbx);
  VcpuState& s = engine_.vcpu().state;  // not by push(), which flushes
  s.activity = Activity::kRunning;
  s.rip = kFar + 0x10;
  s.gpr[x86::kRcx] = 77;
  resume();
  EXPECT_EQ(rax(), 100u);
  EXPECT_EQ(state_.gpr[x86::kRbx], 77u);
}

TEST_F(BtCrossingLink, StoreToTheSecondPageTakesEffect) {
  loop_within_page();
  state_.gpr[x86::kRcx] = 100;
  run();
  put64(kCountsRax, (at64(kCountsRax) & ~u64{0xff}) | 0xc3);
  ram_->note_store(GuestPhys(kCountsRax), 1);
  VcpuState& s = engine_.vcpu().state;
  s.activity = Activity::kRunning;
  s.rip = kFar + 0x13;
  s.gpr[x86::kRcx] = 77;
  resume();
  EXPECT_EQ(rax(), 100u);
  EXPECT_EQ(state_.gpr[x86::kRbx], 77u);
}

TEST_F(BtCrossingLink, EachAddressSpaceHasItsOwnSecondPage) {
  constexpr u64 kOther = 0x30000;
  map(kOther, kData);
  map_second(kOther, kCountsRbx);
  code({0x0f, 0x22, 0xde, 0x48, 0x87, 0xf7}, kCode);  // MOV CR3, RSI; XCHG RDI, RSI
  jump(kCode + 6, kCode + 6, kCrossing);
  then_jump(kBack);
  state_.gpr[x86::kRsi] = kOther;
  state_.gpr[x86::kRdi] = kPml4;
  state_.gpr[x86::kRcx] = 1001;
  run();
  EXPECT_EQ(state_.gpr[x86::kRbx], 501u);
  EXPECT_EQ(rax(), 500u);
}

}  // namespace
}  // namespace vellum::bt
