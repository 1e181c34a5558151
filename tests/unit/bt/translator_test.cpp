// The translator's own promises, which are the interpreter's: exact budgets, precise faults, hazards within a
// unit, code that changes. That code was translated is asserted, so that these tests do not test the
// interpreter.
#include <cstring>
#include <thread>

#include "long_guest.hpp"

namespace vellum::bt {
namespace {

using Bt = LongGuest;

// Decoded units are dropped, and eras of translations begin, while they run.
TEST_F(Bt, MoreUnitsThanAreKeptRunAllTheSame) {
  constexpr u64 kUnits = 50'000, kAt = 0x20000;
  for (u64 n = 0; n < kUnits; ++n) code({0xff, 0xc0, 0xeb, 0x00}, kAt + 4 * n);  // INC EAX; JMP to the next
  code({0xf4}, kAt + 4 * kUnits);
  for (int turn = 0; turn < 2; ++turn) {
    state_.activity = Activity::kRunning;
    state_.rip = kAt;
    state_.gpr[x86::kRax] = 0;
    EXPECT_TRUE(std::holds_alternative<exit::Halted>(run(3 * kUnits)));
    EXPECT_EQ(state_.gpr[x86::kRax], kUnits);
  }
  EXPECT_GE(count_of(engine_, "cache dropped"), 2u);
}

TEST_F(Bt, EndlessFaultsSpendTheBudget) {
  code({0x90, 0x0f, 0x0b});           // NOP; UD2
  code({0x0f, 0x0b}, kHandlers + 6);  // and its handler
  state_.gpr[x86::kRsp] = kData + 0x10000;
  const u64 steps = engine_.steps();
  EXPECT_TRUE(std::holds_alternative<exit::BudgetSpent>(run(500)));
  EXPECT_EQ(ran_, 1u);
  EXPECT_EQ(engine_.steps() - steps, 500u);
  EXPECT_EQ(state_.gpr[x86::kRsp], kData + 0x10000 - 40 - 498 * 48)
      << "each delivery pushes a frame, aligned";
}

TEST_F(Bt, BudgetIsExactInALinkedLoop) {
  code({0x48, 0xff, 0xc0, 0xeb, 0xfb});  // loop: INC RAX; JMP loop
  for (const u64 n : {1, 2, 3, 100, 101, 4999}) {
    state_.gpr[x86::kRax] = 0;
    state_.rip = kCode;
    const Exit e = run(n);
    EXPECT_TRUE(std::holds_alternative<exit::BudgetSpent>(e));
    EXPECT_EQ(ran_, n);
    EXPECT_EQ(rax(), (n + 1) / 2);
    EXPECT_EQ(state_.rip, n % 2 == 0 ? kCode : kCode + 3);
  }
  EXPECT_GT(count("units translated"), 0u);
  EXPECT_GT(count("jumps linked"), 0u);
  EXPECT_LT(count("entries"), 100u) << "the loop runs without leaving translated code";
}

TEST_F(Bt, FaultInTheMiddleOfAUnitIsPrecise) {
  // ADD RAX, 1; CMP RAX, RAX; MOV RCX, [RBX]; ADD RAX, 1; HLT, with RBX where nothing is mapped
  code({0x48, 0x83, 0xc0, 0x01, 0x48, 0x39, 0xc0, 0x48, 0x8b, 0x0b, 0x48, 0x83, 0xc0, 0x01, 0xf4});
  state_.gpr[x86::kRbx] = 0x400000;
  state_.gpr[x86::kRcx] = 77;
  run();
  EXPECT_EQ(halted_in_handler(), x86::kPf);
  EXPECT_EQ(state_.cr2, 0x400000u);
  EXPECT_EQ(rax(), 1u);
  EXPECT_EQ(state_.gpr[x86::kRcx], 77u);
  EXPECT_EQ(frame()[1], kCode + 7) << "the error code is at frame()[0]";
  EXPECT_EQ(frame()[3] & x86::rflags::kArithmetic, x86::rflags::kZf | x86::rflags::kPf);
  EXPECT_EQ(ran_, 3u) << "two instructions, and the handler's HLT";
  EXPECT_EQ(count("units translated"), 2u);
}

// To Zydis it is a conditional branch, whose opcode ends as JNO's does.
TEST_F(Bt, InstructionOfAbsentTransactionsIsUndefined) {
  code({0x0f, 0x01, 0xd5, 0xf4});  // XEND; HLT
  run();
  EXPECT_EQ(halted_in_handler(), x86::kUd);
}

TEST_F(Bt, FlagsThatNobodyReadAreStillPushed) {
  // XOR EAX, EAX; DEC RAX; SHL RAX, 4; UD2: CF, SF and PF of the shift, AF of DEC
  code({0x31, 0xc0, 0x48, 0xff, 0xc8, 0x48, 0xc1, 0xe0, 0x04, 0x0f, 0x0b});
  run();
  EXPECT_EQ(halted_in_handler(), x86::kUd);
  EXPECT_EQ(frame()[0], kCode + 9);
  using namespace x86::rflags;
  EXPECT_EQ(frame()[2] & kArithmetic, kCf | kSf | kAf | kPf);
}

TEST_F(Bt, RegistersWithoutAHostRegisterWork) {
  // MOV R13, 5; MOV R14D, R13D; LEA R15, [R13+R14*8]; ADD R11, R15; XCHG R11, R13; MOV [kData+R14], R13B; HLT
  code({0x49, 0xc7, 0xc5, 5,    0,    0,    0,    0x45, 0x89, 0xee, 0x4f, 0x8d, 0x7c, 0xf5, 0x00,
        0x4d, 0x01, 0xfb, 0x4d, 0x87, 0xeb, 0x45, 0x88, 0xae, 0x00, 0x00, 0x01, 0x00, 0xf4});
  state_.gpr[11] = 100;
  state_.gpr[14] = ~u64{0};
  run();
  EXPECT_EQ(state_.gpr[14], 5u);
  EXPECT_EQ(state_.gpr[15], 45u);
  EXPECT_EQ(state_.gpr[13], 145u);
  EXPECT_EQ(state_.gpr[11], 5u);
  EXPECT_EQ(*ram_->host(GuestPhys(kData + 5)), 145);
}

TEST_F(Bt, AccessAcrossAPageBoundaryIsWhole) {
  // MOV [RBX], RAX; MOV RCX, [RBX]; ADD [RBX], RAX; HLT
  code({0x48, 0x89, 0x03, 0x48, 0x8b, 0x0b, 0x48, 0x01, 0x03, 0xf4});
  state_.gpr[x86::kRbx] = kData + 0xffd;
  state_.gpr[x86::kRax] = 0x1122334455667788;
  run();
  EXPECT_EQ(state_.gpr[x86::kRcx], 0x1122334455667788u);
  u64 value;
  std::memcpy(&value, ram_->host(GuestPhys(kData + 0xffd)), 8);
  EXPECT_EQ(value, 0x1122334455667788u * 2);
}

TEST_F(Bt, CallAndReturnRunWithoutLeaving) {
  // loop: CALL f; DEC ECX; JNZ loop; HLT … f: INC RAX; RET
  code({0xe8, 0x0b, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf7, 0xf4});
  code({0x48, 0xff, 0xc0, 0xc3}, kCode + 16);
  state_.gpr[x86::kRcx] = 10'000;
  run();
  EXPECT_EQ(rax(), 10'000u);
  EXPECT_EQ(ran_, 10'000u * 5 + 1);
  EXPECT_EQ(state_.gpr[x86::kRsp], kStack);
  EXPECT_LT(count("entries"), 100u);
}

TEST_F(Bt, ReturnToANonCanonicalAddressFaultsAtTheReturn) {
  code({0xc3});
  put64(kStack, u64{1} << 63);
  run();
  EXPECT_EQ(halted_in_handler(), x86::kGp);
  EXPECT_EQ(frame()[1], kCode);
  EXPECT_EQ(frame()[4], kStack) << "RSP as before the RET";
}

TEST_F(Bt, StopHazardFromAnotherThreadEndsALinkedLoop) {
  code({0xeb, 0xfe});  // JMP $
  std::thread stopper([this] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    hazards_.set(Hazards::kStop);
  });
  const Exit e = run(~u64{0});
  stopper.join();
  EXPECT_TRUE(std::holds_alternative<exit::Interrupted>(e));
  EXPECT_EQ(state_.rip, kCode);
}

TEST_F(Bt, InterruptIsTakenInALinkedLoop) {
  code({0xfb, 0xeb, 0xfe});  // STI; JMP $
  board_.vector = 0x40;
  run(1000);
  hazards_.set(Hazards::kInterrupt);
  resume();
  EXPECT_EQ(halted_in_handler(), 0x40);
  EXPECT_EQ(frame()[0], kCode + 1);
}

TEST_F(Bt, PendingInterruptWithoutIfLetsTheGuestRun) {
  code({0x48, 0xff, 0xc0, 0xeb, 0xfb});  // loop: INC RAX; JMP loop, IF = 0
  hazards_.set(Hazards::kInterrupt);
  EXPECT_TRUE(std::holds_alternative<exit::BudgetSpent>(run(1000)));
  EXPECT_EQ(rax(), 500u);
}

// --- Code that changes ---

TEST_F(Bt, StoreIntoTheRunningUnitTakesEffectAtOnce) {
  // MOV BYTE [RIP+n], C8h (INC becomes DEC: FF /1); INC EAX; HLT
  code({0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0xc8, 0xff, 0xc0, 0xf4});
  state_.gpr[x86::kRax] = 10;
  run();
  EXPECT_EQ(rax(), 9u);
}

TEST_F(Bt, StoreIntoALinkedUnitTakesEffect) {
  // loop: JMP f; back: DEC ECX; JNZ loop; HLT … f: ADD RAX, imm8 (at +0x43); JMP back
  code({0xeb, 0x3e, 0xff, 0xc9, 0x75, 0xfa, 0xf4});
  code({0x48, 0x83, 0xc0, 0x01, 0xeb, 0xbc}, kCode + 0x40);
  state_.gpr[x86::kRcx] = 1000;
  run();
  EXPECT_EQ(rax(), 1000u);
  const u8 patch[] = {0x02};
  ASSERT_TRUE(space_.write(GuestPhys(kCode + 0x43), patch));
  state_.activity = Activity::kRunning;
  state_.rip = kCode;
  state_.gpr[x86::kRcx] = 1000;
  run();
  EXPECT_EQ(rax(), 3000u);
}

TEST_F(Bt, ModifyingStoreBesideCodeKeepsFlags) {
  // loop: ADD QWORD [kCode+0x38], -1; JNZ loop; HLT: data in the chunk that holds the code
  code({0x48, 0x83, 0x04, 0x25, 0x38, 0x10, 0x00, 0x00, 0xff, 0x75, 0xf5, 0xf4});
  put64(kCode + 0x38, 50);
  EXPECT_TRUE(std::holds_alternative<exit::Halted>(run()));
  EXPECT_EQ(ran_, 101u);
}

// --- Mapping ---

TEST_F(Bt, InvlpgTakesEffectOnTranslatedCodeAndData) {
  // Data: a page table for 2 MiB at 0x200000, whose first page moves from kData to kData + 0x1000.
  constexpr u64 kPt = 0x5000;
  put64(kPd + 8, kPt | 3);
  put64(kPt, kData | 3);
  put64(kData, 1);
  put64(kData + 0x1000, 2);
  // MOV RAX, [200000h]; MOV QWORD [kPt], kData + 0x1003; INVLPG [RBX]; MOV RDX, [200000h]; HLT
  code({0x48, 0x8b, 0x04, 0x25, 0x00, 0x00, 0x20, 0x00, 0x48, 0xc7, 0x04, 0x25, 0x00, 0x50, 0x00, 0x00,
        0x03, 0x10, 0x01, 0x00, 0x0f, 0x01, 0x3b, 0x48, 0x8b, 0x14, 0x25, 0x00, 0x00, 0x20, 0x00, 0xf4});
  state_.gpr[x86::kRbx] = 0x200000;
  run();
  EXPECT_EQ(rax(), 1u);
  EXPECT_EQ(state_.gpr[x86::kRdx], 2u);
}

class BtSmallCache : public LongGuest {
 protected:
  BtSmallCache() : LongGuest({.cache_bytes = 1 << 20, .threshold = 0}) {}
};

TEST_F(BtSmallCache, FullCacheIsDroppedAndFilledAgain) {
  // INC RAX; JMP next: more units than the cache has room for.
  constexpr u64 kFirst = 0x20000, kUnits = 8192, kStep = 8;
  for (u64 n = 0; n < kUnits; ++n) code({0x48, 0xff, 0xc0, 0xeb, 0x03}, kFirst + n * kStep);
  code({0xf4}, kFirst + kUnits * kStep);
  state_.rip = kFirst;
  run();
  EXPECT_EQ(rax(), kUnits);
  EXPECT_EQ(ran_, 2 * kUnits + 1);
  EXPECT_GT(count("cache flushes"), 0u);
}

}  // namespace
}  // namespace vellum::bt
