// 32-bit code: translated while its segments are flat.
#include "long_guest.hpp"

namespace vellum::bt {
namespace {

using x86::Seg;

struct BtNarrow : LongGuest {
  BtNarrow() {
    put64(kGdt + 24, 0x00cf9b000000ffff);  // 32-bit code
    state_.segment(Seg::kCs) = {.selector = 24, .attributes = 0xc09b, .limit = 0xffffffff, .base = 0};
    state_.gdtr = {kGdt, 31};
  }
};

TEST_F(BtNarrow, LoopOfCallsStaysInTranslatedCode) {
  // L: CALL F; DEC ECX; JNZ L; HLT; F: PUSH 5; POP EBX; ADD EAX, EBX; RET
  code({0xe8, 0x04, 0, 0, 0, 0x49, 0x75, 0xf8, 0xf4, 0x6a, 0x05, 0x5b, 0x01, 0xd8, 0xc3});
  state_.gpr[x86::kRcx] = 10'000;
  run();
  EXPECT_EQ(rax(), 50'000u);
  EXPECT_EQ(ran_, 70'001u);
  EXPECT_EQ(state_.gpr[x86::kRsp], kStack);
  EXPECT_LT(count("entries"), 20u);
}

TEST_F(BtNarrow, StackPointerAndTargetsHave32Bits) {
  // MOV EAX, [ESP]; MOV ECX, 0x90000000; LEA EDX, [EAX + ECX * 2]; HLT
  code({0x8b, 0x04, 0x24, 0xb9, 0, 0, 0, 0x90, 0x8d, 0x14, 0x48, 0xf4});
  state_.gpr[x86::kRsp] = 0xffffffff'0000a000;
  put64(0xa000, 0x70000000);
  run();
  EXPECT_EQ(rax(), 0x70000000u);
  EXPECT_EQ(state_.gpr[x86::kRdx], 0x90000000u);
}

TEST_F(BtNarrow, OperandBeyondTheLimitOfFsFaults) {
  code({0x90, 0x64, 0xa1, 0x08, 0, 0, 0, 0xf4});  // NOP; MOV EAX, FS:[8]
  state_.segment(Seg::kFs) = {.selector = 16, .attributes = 0x4093, .limit = 8, .base = kData};
  run();
  EXPECT_EQ(halted_in_handler(), x86::kGp);
  EXPECT_EQ(frame()[1], kCode + 1);
}

TEST_F(BtNarrow, BaseOfGsIsAddedWithin32Bits) {
  code({0x65, 0xa1, 0, 0, 0x01, 0, 0xf4});  // MOV EAX, GS:[0x10000]
  state_.segment(Seg::kGs) = {.selector = 16, .attributes = 0xc093, .limit = 0xffffffff, .base = 0xffff8000};
  put64(0x8000, 0x1234567);
  run();
  EXPECT_EQ(rax(), 0x1234567u);
}

// Over 4 GiB of the segment, in the middle of a page.
TEST_F(BtNarrow, OperandOverTheEndOfASegmentFromAnUnalignedBaseFaults) {
  code({0x64, 0xa1, 0xfe, 0xff, 0xff, 0xff, 0xf4});  // MOV EAX, FS:[0xfffffffe]
  state_.segment(Seg::kFs) = {.selector = 16, .attributes = 0xc093, .limit = 0xffffffff, .base = 0x10800};
  run();
  EXPECT_EQ(halted_in_handler(), x86::kGp);
}

TEST_F(BtNarrow, SegmentsAreLookedAtAgainWhenOneIsLoaded) {
  // MOV EBX, [0x10000]; MOV DS, ECX; MOV EAX, [0x10000]; HLT
  code({0x8b, 0x1d, 0, 0, 0x01, 0, 0x8e, 0xd9, 0xa1, 0, 0, 0x01, 0, 0xf4});
  put64(kData, 7);
  state_.gpr[x86::kRcx] = 0;
  run();
  EXPECT_EQ(state_.gpr[x86::kRbx], 7u);
  EXPECT_EQ(halted_in_handler(), x86::kGp);
  EXPECT_EQ(frame()[1], kCode + 8);
}

TEST_F(BtNarrow, BasesOtherThan0AreHonoured) {
  code({0xa1, 0x08, 0, 0, 0, 0xf4});  // MOV EAX, [8]
  state_.segment(Seg::kDs).base = kData;
  put64(kData + 8, 99);
  run();
  EXPECT_EQ(rax(), 99u);
}

TEST_F(BtNarrow, OperandOverTheEndOfAddressesFaults) {
  code({0xa1, 0xfe, 0xff, 0xff, 0xff, 0xf4});  // MOV EAX, [0xfffffffe]
  run();
  EXPECT_EQ(halted_in_handler(), x86::kGp);
}

TEST_F(BtNarrow, NothingIsWrittenThroughCs) {
  code({0x2e, 0xa3, 0, 0, 0x01, 0, 0xf4});  // MOV CS:[0x10000], EAX
  run();
  EXPECT_EQ(halted_in_handler(), x86::kGp);
}

// The same bytes at the same address: each mode has its own translation.
TEST_F(BtNarrow, BothModesRunTheSameBytes) {
  code({0x48, 0x89, 0xc8, 0xf4});  // MOV RAX, RCX; or DEC EAX; MOV EAX, ECX
  state_.gpr[x86::kRcx] = 0x1'0000'0005;
  run();
  EXPECT_EQ(rax(), 5u);
  EXPECT_EQ(ran_, 3u);
  state_.segment(Seg::kCs) = {.selector = 8, .attributes = 0xa09b, .limit = 0xffffffff, .base = 0};
  state_.rip = kCode;
  state_.activity = Activity::kRunning;
  state_.gpr[x86::kRcx] = 0x1'0000'0005;
  run();
  EXPECT_EQ(rax(), 0x1'0000'0005u);
  EXPECT_EQ(ran_, 2u);
}

}  // namespace
}  // namespace vellum::bt
