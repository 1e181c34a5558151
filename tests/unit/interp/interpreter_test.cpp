// The engine's own promises: exact budgets, exits, hazards, stepping, and code that changes under it. What
// single instructions do is tests/differential's subject.
#include <algorithm>

#include "flat_guest.hpp"

namespace vellum::interp {
namespace {

using Interp = FlatGuest;

TEST_F(Interp, BudgetIsExactInTheMiddleOfAUnit) {
  code({0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0xf4});  // six INC EAX, HLT
  for (u64 n = 1; n <= 6; ++n) {
    state_.rip = kCode;
    state_.gpr[x86::kRax] = 0;
    const Exit e = run(n);
    EXPECT_TRUE(std::holds_alternative<exit::BudgetSpent>(e));
    EXPECT_EQ(eax(), n);
    EXPECT_EQ(ran_, n);
    EXPECT_EQ(state_.rip, kCode + n);
  }
}

// A handler that faults at its first instruction retires nothing, for ever.
TEST_F(Interp, EndlessFaultsSpendTheBudget) {
  code({0x0f, 0x0b});                 // UD2
  code({0x0f, 0x0b}, kHandlers + 6);  // and its handler
  state_.gpr[x86::kRsp] = kData + 0x10000;
  const u64 steps = engine_.steps();
  EXPECT_TRUE(std::holds_alternative<exit::BudgetSpent>(run(500)));
  EXPECT_EQ(ran_, 0u);
  EXPECT_EQ(engine_.steps() - steps, 500u);
  EXPECT_EQ(state_.gpr[x86::kRsp], kData + 0x10000 - 500 * 12) << "each delivery pushes a frame";
}

TEST_F(Interp, AnEventThatTheBudgetHasNoStepForWaits) {
  code({0x40, 0xeb, 0xfd});  // INC EAX; JMP to it
  state_.rflags |= x86::rflags::kIf;
  EXPECT_TRUE(std::holds_alternative<exit::BudgetSpent>(run(1)));
  board_.vector = 0x43;
  hazards_.set(Hazards::kInterrupt);
  resume(0);
  EXPECT_EQ(state_.rip, kCode + 1);
  resume(1);
  EXPECT_EQ(state_.rip, kHandlers + 0x43) << "the delivery is a step";
  EXPECT_EQ(ran_, 0u);
}

TEST_F(Interp, ADebugTrapBelongsToItsInstruction) {
  code({0x40, 0x40});
  state_.rflags |= x86::rflags::kTf;
  const u64 steps = engine_.steps();
  run(1);
  EXPECT_EQ(state_.rip, kHandlers + x86::kDb);
  EXPECT_EQ(engine_.steps() - steps, 1u);
}

TEST_F(Interp, HaltIsAnExitAndStaysOne) {
  code({0xf4});
  EXPECT_TRUE(std::holds_alternative<exit::Halted>(run()));
  EXPECT_EQ(ran_, 1u);
  EXPECT_TRUE(std::holds_alternative<exit::Halted>(resume()));
  EXPECT_EQ(ran_, 0u);
}

TEST_F(Interp, StopHazardEndsRunBeforeTheNextInstruction) {
  code({0xeb, 0xfe});  // JMP $
  hazards_.set(Hazards::kStop);
  EXPECT_TRUE(std::holds_alternative<exit::Interrupted>(run()));
  EXPECT_EQ(ran_, 0u);
}

TEST_F(Interp, TripleFaultNamesItsEvents) {
  code({0x0f, 0x0b});     // UD2
  state_.idtr.limit = 0;  // no gate can be reached
  const Exit e = run();
  ASSERT_TRUE(std::holds_alternative<exit::Shutdown>(e));
  EXPECT_NE(std::get<exit::Shutdown>(e).reason.find("#UD"), std::string::npos)
      << std::get<exit::Shutdown>(e).reason;
}

TEST_F(Interp, FaultLeavesRipAtTheInstruction) {
  code({0x90, 0x90, 0x0f, 0x0b});
  run();
  EXPECT_EQ(halted_in_handler(), x86::kUd);
  EXPECT_EQ(*reinterpret_cast<u32*>(ram_->host(GuestPhys(state_.gpr[x86::kRsp]))), kCode + 2);
}

// --- Interrupts
// ---------------------------------------------------------------------------------------------------

TEST_F(Interp, InterruptWaitsForStiAndOneInstructionMore) {
  code({0x90, 0xfb, 0x40, 0x40, 0xf4});  // NOP, STI, INC EAX, INC EAX, HLT
  board_.vector = 0x40;
  hazards_.set(Hazards::kInterrupt);
  run();
  EXPECT_EQ(halted_in_handler(), 0x40);
  EXPECT_EQ(eax(), 1u) << "exactly one instruction runs in STI's shadow";
}

TEST_F(Interp, InterruptWakesAHaltedVcpu) {
  code({0xfb, 0xf4, 0x40, 0xf4});
  EXPECT_TRUE(std::holds_alternative<exit::Halted>(run()));
  board_.vector = 0x41;
  hazards_.set(Hazards::kInterrupt);
  resume();
  EXPECT_EQ(halted_in_handler(), 0x41);
  EXPECT_EQ(*reinterpret_cast<u32*>(ram_->host(GuestPhys(state_.gpr[x86::kRsp]))), kCode + 2)
      << "after the HLT";
}

TEST_F(Interp, RepStopsForAnInterruptWithConsistentRegisters) {
  code({0xfb, 0x90, 0xf3, 0xaa, 0xf4});  // STI, NOP, REP STOSB
  state_.gpr[x86::kRdi] = kData;
  state_.gpr[x86::kRcx] = 1000;
  state_.gpr[x86::kRax] = 0x5a;
  run(2);
  board_.vector = 0x42;
  hazards_.set(Hazards::kInterrupt);
  resume();
  ASSERT_EQ(halted_in_handler(), 0x42);
  EXPECT_EQ(state_.gpr[x86::kRdi] - kData, 1000 - state_.gpr[x86::kRcx]);
  EXPECT_EQ(*reinterpret_cast<u32*>(ram_->host(GuestPhys(state_.gpr[x86::kRsp]))), kCode + 2)
      << "to be resumed";
}

// --- x87 errors with CR0.NE clear
// ---------------------------------------------------------------------------------

class X87WithoutNe : public FlatGuest {
 protected:
  X87WithoutNe() {
    state_.xsave.fcw() = 0x37b;  // zero divide unmasked, and it has happened
    state_.xsave.fsw() = 0x8084;
    state_.rflags |= x86::rflags::kIf;
  }
};

TEST_F(X87WithoutNe, AWaitingInstructionWaitsForTheInterrupt) {
  code({0x90, 0xd9, 0xe8, 0xf4});  // NOP; FLD1; HLT
  EXPECT_TRUE(std::holds_alternative<exit::Halted>(run()));
  EXPECT_EQ(state_.rip, kCode + 1);
  EXPECT_TRUE(board_.ferr);
  board_.vector = 0x75;
  hazards_.set(Hazards::kInterrupt);
  resume();
  EXPECT_EQ(halted_in_handler(), 0x75);
  EXPECT_EQ(*reinterpret_cast<u32*>(ram_->host(GuestPhys(state_.gpr[x86::kRsp]))), kCode + 1)
      << "the instruction runs after the handler";
}

TEST_F(X87WithoutNe, UnderIgnneItRunsAndTheErrorStays) {
  code({0xd9, 0xf6, 0x9b, 0xf4});  // FDECSTP; FWAIT; HLT
  board_.ignne = true;
  run();
  EXPECT_EQ(state_.rip, kCode + 4);
  EXPECT_EQ(ran_, 3u);
  EXPECT_EQ(state_.xsave.fsw(), 0xb884) << "TOP has moved, ES, B and ZE are set";
  EXPECT_TRUE(board_.ferr);
}

TEST_F(X87WithoutNe, UnderIgnneANewStatusReplacesTheError) {
  code({0xd9, 0x25, 0, 0, 1, 0, 0xf4});  // FLDENV [kData]; HLT
  put64(kData, 0x37f);
  board_.ignne = true;
  run();
  EXPECT_EQ(state_.rip, kCode + 7);
  EXPECT_EQ(state_.xsave.fsw(), 0);
  EXPECT_FALSE(board_.ferr);
}

TEST_F(X87WithoutNe, WhatEndsTheErrorEndsFerr) {
  code({0xdb, 0xe2, 0x9b, 0xf4});  // FNCLEX; FWAIT; HLT
  board_.ferr = true;
  run();
  EXPECT_EQ(state_.rip, kCode + 4);
  EXPECT_FALSE(board_.ferr);
}

TEST_F(X87WithoutNe, WithNeItIsAnException) {
  code({0x9b, 0xf4});
  state_.cr0 |= x86::cr0::kNe;
  run();
  EXPECT_EQ(halted_in_handler(), x86::kMf);
  EXPECT_FALSE(board_.ferr);
}

// --- Single-step and breakpoints
// ----------------------------------------------------------------------------------

TEST_F(Interp, TrapFlagTrapsAfterOneInstruction) {
  code({0x40, 0x40});
  state_.rflags |= x86::rflags::kTf;
  run();
  EXPECT_EQ(halted_in_handler(), x86::kDb);
  EXPECT_EQ(eax(), 1u);
  EXPECT_NE(state_.dr6 & x86::dr6::kBs, 0u);
}

TEST_F(Interp, TrapFlagTrapsAfterEachIterationOfRep) {
  code({0xf3, 0xaa});
  state_.gpr[x86::kRdi] = kData;
  state_.gpr[x86::kRcx] = 5;
  state_.rflags |= x86::rflags::kTf;
  run();
  EXPECT_EQ(halted_in_handler(), x86::kDb);
  EXPECT_EQ(ecx(), 4u);
}

TEST_F(Interp, InstructionBreakpointComesFirstAndRfHoldsItOff) {
  code({0x40, 0x40, 0xf4});
  state_.dr[0] = kCode + 1;
  state_.dr7 |= 1;
  run();
  EXPECT_EQ(halted_in_handler(), x86::kDb);
  EXPECT_EQ(eax(), 1u);
  EXPECT_EQ(state_.dr6 & 0xf, 1u);

  state_.activity = Activity::kRunning;
  state_.rip = kCode + 1;
  state_.rflags |= x86::rflags::kRf;
  run();
  EXPECT_EQ(halted_in_handler(), -1);
  EXPECT_EQ(eax(), 2u);
}

TEST_F(Interp, DataBreakpointTrapsAfterTheStore) {
  code(
      {0xc7, 0x05, 0x00, 0x00, 0x01, 0x00, 0x78, 0x56, 0x34, 0x12, 0x40});  // MOV [kData], 12345678h; INC EAX
  state_.dr[1] = kData;
  state_.dr7 |= (1 << 2) | (u64{0b1101} << 20);  // DR1: local, write, 4 bytes
  run();
  EXPECT_EQ(halted_in_handler(), x86::kDb);
  EXPECT_EQ(state_.dr6 & 0xf, 2u);
  EXPECT_EQ(eax(), 0u);
  EXPECT_EQ(*reinterpret_cast<u32*>(ram_->host(GuestPhys(kData))), 0x12345678u);
}

// --- Code limits
// --------------------------------------------------------------------------------------------------

TEST_F(Interp, CodeLimitStopsExecutionAtItsByte) {
  code({0x40, 0x40, 0x40, 0xb8, 1, 0, 0, 0, 0xf4});
  state_.segment(x86::Seg::kCs).limit = kCode + 4;  // MOV EAX's immediate lies beyond
  state_.segment(x86::Seg::kCs).attributes &= ~0x8000;
  put64(kGdt + 8, 0x00cf9b000000ffff);
  run();
  EXPECT_EQ(halted_in_handler(), x86::kGp);
  EXPECT_EQ(eax(), 3u);
}

// --- Self-modifying code
// ------------------------------------------------------------------------------------------

TEST_F(Interp, StoreIntoTheRunningUnitTakesEffectAtOnce) {
  // MOV BYTE [next], 48h (DEC EAX); next: INC EAX; HLT
  code({0xc6, 0x05, 0x07, 0x10, 0x00, 0x00, 0x48, 0x40, 0xf4});
  state_.gpr[x86::kRax] = 10;
  run();
  EXPECT_EQ(eax(), 9u);
}

TEST_F(Interp, RepStoreIntoCodeAheadTakesEffect) {
  // MOV EDI, next; MOV ECX, 2; MOV AL, 90h; REP STOSB; next: INC EBX; INC EBX; HLT
  code({0xbf, 0x11, 0x10, 0x00, 0x00, 0xb9, 0x02, 0x00, 0x00, 0x00,
        0xb0, 0x90, 0xf3, 0xaa, 0x90, 0x90, 0x90, 0x43, 0x43, 0xf4});
  state_.gpr[x86::kRbx] = 0;
  run();
  EXPECT_EQ(state_.gpr[x86::kRbx], 0u);
}

TEST_F(Interp, StoreBesideCodeInTheSamePageKeepsTheUnits) {
  // loop: INC DWORD [kCode + 0x800]; DEC ECX; JNZ loop; HLT
  code({0xff, 0x05, 0x00, 0x18, 0x00, 0x00, 0x49, 0x75, 0xf7, 0xf4});
  state_.gpr[x86::kRcx] = 100;
  run();
  std::vector<StatRow> rows;
  engine_.stats(rows);
  for (const StatRow& row : rows) {
    if (row.name == "units decoded again") {
      EXPECT_EQ(row.count, 0u);
    }
  }
  EXPECT_EQ(*reinterpret_cast<u32*>(ram_->host(GuestPhys(kCode + 0x800))), 100u);
}

TEST_F(Interp, MoreUnitsThanAreKeptRunAllTheSame) {
  constexpr u64 kUnits = 50'000, kAt = 0x20000;
  for (u64 n = 0; n < kUnits; ++n) code({0x40, 0xeb, 0x00}, kAt + 3 * n);  // INC EAX; JMP to the next
  code({0xf4}, kAt + 3 * kUnits);
  for (int turn = 0; turn < 2; ++turn) {
    state_.activity = Activity::kRunning;
    state_.rip = kAt;
    state_.gpr[x86::kRax] = 0;
    EXPECT_TRUE(std::holds_alternative<exit::Halted>(run(3 * kUnits)));
    EXPECT_EQ(eax(), kUnits);
  }
  std::vector<StatRow> rows;
  engine_.stats(rows);
  const auto dropped =
      std::find_if(rows.begin(), rows.end(), [](const StatRow& row) { return row.name == "cache dropped"; });
  ASSERT_NE(dropped, rows.end());
  EXPECT_GE(dropped->count, 2u);
}

TEST_F(Interp, DmaIntoCodeTakesEffect) {
  code({0x40, 0xf4});
  run();
  EXPECT_EQ(eax(), 1u);
  const u8 patch[] = {0x48};
  ASSERT_TRUE(space_.write(GuestPhys(kCode), patch));
  state_.activity = Activity::kRunning;
  state_.rip = kCode;
  run();
  EXPECT_EQ(eax(), 0u);
}

TEST_F(Interp, InstructionAcrossAPageBoundaryFollowsBothPages) {
  code({0xb8, 0x11, 0x22}, 0x2ffd);  // MOV EAX, imm32: three bytes here …
  code({0x33, 0x44, 0xf4}, 0x3000);  // … two there
  state_.rip = 0x2ffd;
  run();
  EXPECT_EQ(eax(), 0x44332211u);
  const u8 patch[] = {0x77};
  ASSERT_TRUE(space_.write(GuestPhys(0x3001), patch));
  state_.activity = Activity::kRunning;
  state_.rip = 0x2ffd;
  run();
  EXPECT_EQ(eax(), 0x77332211u);
}

TEST_F(Interp, LockedAccessAcrossPagesAddsOnce) {
  code({0xf0, 0x83, 0x05, 0xfe, 0x0f, 0x01, 0x00, 0x01, 0xf4});  // LOCK ADD DWORD [kData + 0xffe], 1
  const u32 before = 0x0000ffff;
  ASSERT_TRUE(space_.write(GuestPhys(kData + 0xffe), {reinterpret_cast<const u8*>(&before), 4}));
  run();
  u32 after = 0;
  ASSERT_TRUE(space_.read(GuestPhys(kData + 0xffe), {reinterpret_cast<u8*>(&after), 4}));
  EXPECT_EQ(after, 0x00010000u);
}

TEST_F(Interp, PullAndPushMoveOnlyNamedGroups) {
  engine_.push(StateMask::kAll, state_);
  VcpuState other = state_;
  other.gpr[x86::kRax] = 77;
  other.cr2 = 99;
  engine_.push(StateMask::kGeneral, other);
  VcpuState back;
  engine_.pull(StateMask::kAll, back);
  EXPECT_EQ(back.gpr[x86::kRax], 77u);
  EXPECT_EQ(back.cr2, state_.cr2);
}

}  // namespace
}  // namespace vellum::interp
