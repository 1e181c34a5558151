// Privileged instructions that translated code does by itself: what the handlers do, no more and no less.
#include "long_guest.hpp"

namespace vellum::bt {
namespace {

struct BtSystem : LongGuest {
  void make_user() {
    state_.cpl = 3;
    state_.segment(x86::Seg::kCs).attributes |= 3 << 5;
    state_.segment(x86::Seg::kSs).attributes |= 3 << 5;
    for (const u64 table : {kPml4, kPdpt, kPd}) put64(table, at64(table) | 4);
  }
  bool interrupts() const { return (state_.rflags & x86::rflags::kIf) != 0; }
};

TEST_F(BtSystem, InterruptFlagChangesWithoutLeaving) {
  // loop: STI; NOP; CLI; DEC ECX; JNZ loop; HLT
  code({0xfb, 0x90, 0xfa, 0xff, 0xc9, 0x75, 0xf9, 0xf4});
  state_.gpr[x86::kRcx] = 1000;
  run();
  EXPECT_EQ(ran_, 5001u);
  EXPECT_FALSE(interrupts());
  EXPECT_LT(count("entries"), 20u);
  EXPECT_EQ(count("instructions stepped"), 0u);
}

TEST_F(BtSystem, InterruptThatWaitsIsTakenAfterTheShadowOfSti) {
  code({0xfb, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0, 0xf4});  // STI; INC RAX; INC RAX; HLT
  board_.vector = 0x40;
  hazards_.set(Hazards::kInterrupt);
  run();
  EXPECT_EQ(halted_in_handler(), 0x40);
  EXPECT_EQ(rax(), 1u);
  EXPECT_EQ(frame()[0], kCode + 4);
}

TEST_F(BtSystem, BudgetThatEndsInTheShadowLeavesIt) {
  code({0xfb, 0x48, 0xff, 0xc0, 0xf4});
  run(1);
  EXPECT_TRUE(state_.shadow_sti);
  EXPECT_TRUE(interrupts());
}

TEST_F(BtSystem, UsersMayNot) {
  for (const u8 opcode : {0xfa, 0xfb}) {
    state_.rip = kCode;
    code({opcode, 0x90});
    make_user();
    engine_.push(StateMask::kAll, state_);
    engine_.run(Budget{1});
    engine_.pull(StateMask::kAll, state_);
    // The handlers are at CPL 0 without a stack for them: a triple fault tells that it was not done.
    EXPECT_EQ(state_.activity, Activity::kShutdown);
    state_.activity = Activity::kRunning;
  }
}

TEST_F(BtSystem, SwapGsExchangesTheBases) {
  code({0x0f, 0x01, 0xf8, 0xf4});
  state_.segment(x86::Seg::kGs).base = 0x1111;
  state_.msr.kernel_gs_base = 0xffff888000002222;
  run();
  EXPECT_EQ(state_.segment(x86::Seg::kGs).base, 0xffff888000002222u);
  EXPECT_EQ(state_.msr.kernel_gs_base, 0x1111u);
}

TEST_F(BtSystem, SelectorsAreReadWithoutLeaving) {
  // MOV RAX, DS; MOV ECX, ES; MOV DX, FS; MOV R11, GS; MOV R14W, SS; MOV EBX, CS; HLT
  code({0x48, 0x8c, 0xd8, 0x8c, 0xc1, 0x66, 0x8c, 0xe2, 0x4d, 0x8c, 0xeb, 0x66, 0x41, 0x8c, 0xd6, 0x8c, 0xcb,
        0xf4});
  constexpr u64 kOld = 0x1122334455667788;
  for (const auto n : {x86::kRax, x86::kRcx, x86::kRdx, x86::kRbx}) state_.gpr[n] = kOld;
  state_.gpr[11] = state_.gpr[14] = kOld;
  u16 selector = 0x101;
  for (const auto seg : {x86::Seg::kDs, x86::Seg::kEs, x86::Seg::kFs, x86::Seg::kGs})
    state_.segment(seg).selector = selector++;
  run();
  EXPECT_EQ(rax(), 0x101u);
  EXPECT_EQ(state_.gpr[x86::kRcx], 0x102u);
  EXPECT_EQ(state_.gpr[x86::kRdx], 0x1122334455660103u);
  EXPECT_EQ(state_.gpr[11], 0x104u);
  EXPECT_EQ(state_.gpr[14], 0x1122334455660010u);
  EXPECT_EQ(state_.gpr[x86::kRbx], 8u);
  EXPECT_EQ(count("callouts"), 1u);  // HLT
}

TEST_F(BtSystem, PushedFlagsAreWhole) {
  // STC; PUSHFQ; POP RAX; ADD RBX, RBX; PUSHFQ; POP RCX; HLT
  code({0xf9, 0x9c, 0x58, 0x48, 0x01, 0xdb, 0x9c, 0x59, 0xf4});
  state_.gpr[x86::kRbx] = u64{1} << 62;
  state_.rflags = x86::rflags::kFixed1 | x86::rflags::kIopl | x86::rflags::kDf | x86::rflags::kZf;
  run();
  using namespace x86::rflags;
  EXPECT_EQ(rax(), kFixed1 | kIopl | kDf | kZf | kCf);
  EXPECT_EQ(state_.gpr[x86::kRcx], kFixed1 | kIopl | kDf | kSf | kOf | kPf);
}

TEST_F(BtSystem, DirectionFlag) {
  code({0xfd, 0xaa, 0xfc, 0xaa, 0xf4});  // STD; STOSB; CLD; STOSB; HLT
  state_.gpr[x86::kRdi] = kData;
  state_.gpr[x86::kRax] = 7;
  run();
  EXPECT_EQ(state_.gpr[x86::kRdi], kData);
  EXPECT_EQ(*ram_->host(GuestPhys(kData)), 7);
  EXPECT_EQ(*ram_->host(GuestPhys(kData - 1)), 7);
}

TEST_F(BtSystem, ControlRegistersRead) {
  code({0x0f, 0x20, 0xd0, 0x41, 0x0f, 0x20, 0xdb, 0xf4});  // MOV RAX, CR2; MOV R11, CR3; HLT
  state_.cr2 = 0x123456789abc;
  run();
  EXPECT_EQ(rax(), 0x123456789abcu);
  EXPECT_EQ(state_.gpr[11], kPml4);
}

// --- Integer instructions that are not the host's as they are ---

TEST_F(BtSystem, Divisions) {
  code({0x48, 0xf7, 0xf3, 0x48, 0xf7, 0xfb, 0xf4});  // DIV RBX; IDIV RBX; HLT
  state_.gpr[x86::kRdx] = 1;
  state_.gpr[x86::kRax] = 5;
  state_.gpr[x86::kRbx] = 3;
  run();
  const u64 quotient = 0x5555555555555557;  // of 2^64 + 5 by 3, rest 0
  EXPECT_EQ(rax(), quotient / 3);
  EXPECT_EQ(state_.gpr[x86::kRdx], quotient % 3);
}

TEST_F(BtSystem, DivisionsThatFault) {
  struct Case {
    int modrm;  // of F7: DIV RBX, IDIV RBX
    u64 rdx, rax, rbx;
  };
  for (const Case& c :
       {Case{0xf3, 0, 1, 0}, {0xf3, 3, 0, 3}, {0xfb, 0, 1, 0}, {0xfb, ~u64{0}, u64{1} << 63, ~u64{0}}}) {
    code({0x48, 0xf7, c.modrm, 0xf4});
    state_.activity = Activity::kRunning;
    state_.rip = kCode;
    state_.gpr[x86::kRsp] = kStack;
    state_.gpr[x86::kRdx] = c.rdx;
    state_.gpr[x86::kRax] = c.rax;
    state_.gpr[x86::kRbx] = c.rbx;
    run();
    EXPECT_EQ(halted_in_handler(), x86::kDe);
    EXPECT_EQ(frame()[0], kCode);
  }
}

TEST_F(BtSystem, BitOffsetsReachBeyondTheOperand) {
  // BTS [RBX], RAX; BT [RBX], RCX; SETC DL; LOCK BTR [RBX], RCX; HLT
  code(
      {0x48, 0x0f, 0xab, 0x03, 0x48, 0x0f, 0xa3, 0x0b, 0x0f, 0x92, 0xc2, 0xf0, 0x48, 0x0f, 0xb3, 0x0b, 0xf4});
  state_.gpr[x86::kRbx] = kData;
  state_.gpr[x86::kRax] = 1000;
  state_.gpr[x86::kRcx] = static_cast<u64>(i64{-100});
  state_.gpr[x86::kRdx] = 0;
  put64(kData - 16, ~u64{0});
  run();
  EXPECT_EQ(at64(kData + 120), u64{1} << 40);
  EXPECT_EQ(state_.gpr[x86::kRdx], 1u);
  EXPECT_EQ(at64(kData - 16), ~(u64{1} << 28));
}

TEST_F(BtSystem, HighBytes) {
  // MOV AH, BL; ADD CH, AH; XCHG DH, [RDI]; MOVZX R8D, CH (MOVZX needs REX: EAX instead); HLT
  code({0x88, 0xdc, 0x00, 0xe5, 0x86, 0x37, 0x0f, 0xb6, 0xf5, 0xf4});
  state_.gpr[x86::kRax] = 0x1122334455667788;
  state_.gpr[x86::kRbx] = 0x99;
  state_.gpr[x86::kRcx] = 0xabcdef0123450167;
  state_.gpr[x86::kRdx] = 0x5555555555555555;
  state_.gpr[x86::kRdi] = kData;
  put64(kData, 0x44);
  run();
  EXPECT_EQ(rax(), 0x1122334455669988u);
  EXPECT_EQ(state_.gpr[x86::kRcx], 0xabcdef0123459a67u);
  EXPECT_EQ(state_.gpr[x86::kRdx], 0x5555555555554455u);
  EXPECT_EQ(state_.gpr[x86::kRsi], 0x9au);
  EXPECT_EQ(at64(kData), 0x55u);
}

TEST_F(BtSystem, PushFromMemoryAndPopToTheStackPointer) {
  code({0xff, 0x74, 0x24, 0xf0, 0x5c, 0xf4});  // PUSH [RSP-16]; POP RSP; HLT
  put64(kStack - 16, kData + 8);
  run();
  EXPECT_EQ(at64(kStack - 8), kData + 8);
  EXPECT_EQ(state_.gpr[x86::kRsp], kData + 8);
}

TEST_F(BtSystem, ExchangeOfPairs) {
  // LOCK CMPXCHG16B [RDI]; SETZ BH; LOCK CMPXCHG16B [RDI+8]; HLT: the second is misaligned
  code({0xf0, 0x48, 0x0f, 0xc7, 0x0f, 0x0f, 0x94, 0xc7, 0xf0, 0x48, 0x0f, 0xc7, 0x4f, 0x08, 0xf4});
  state_.gpr[x86::kRdi] = kData;
  put64(kData, 1);
  put64(kData + 8, 2);
  state_.gpr[x86::kRax] = 1;
  state_.gpr[x86::kRdx] = 2;
  state_.gpr[x86::kRbx] = 3;
  state_.gpr[x86::kRcx] = 4;
  run();
  EXPECT_EQ(at64(kData), 3u);
  EXPECT_EQ(at64(kData + 8), 4u);
  EXPECT_EQ(state_.gpr[x86::kRbx], 0x103u);
  EXPECT_EQ(halted_in_handler(), x86::kGp);
}

}  // namespace
}  // namespace vellum::bt
