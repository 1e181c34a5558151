// Pushes and pops (SDM vol. 1 §6.2): how the stack's address size decides where RSP wraps.
#include "cpu/system/stack.hpp"

#include "protection_bench.hpp"

namespace vellum::test {
namespace {

using x86::Seg;

struct Stack : testing::Test {
  std::string do_push(unsigned size, u64 item) {
    return b.run([&] { return push(b.v, size, item); });
  }
  std::string do_pop(unsigned size) {
    return b.run([&] { return pop(b.v, size, value); });
  }
  Bench b;
  u64 value = 0;
};

TEST_F(Stack, AddressSizeOfEachMode) {
  b.enter_real();
  EXPECT_EQ(stack_address_bytes(b.v), 2u);
  b.enter_protected(0);
  EXPECT_EQ(stack_address_bytes(b.v), 4u);
  b.enter_protected_16();
  EXPECT_EQ(stack_address_bytes(b.v), 2u);
  b.enter_v86();
  EXPECT_EQ(stack_address_bytes(b.v), 2u);
  b.enter_long(0);
  EXPECT_EQ(stack_address_bytes(b.v), 8u);
  b.enter_compatibility(3);
  EXPECT_EQ(stack_address_bytes(b.v), 4u);
}

TEST_F(Stack, SixteenBitStackWrapsAndKeepsTheUpperHalf) {
  b.enter_protected_16();
  b.rsp() = 0xabcd0000;
  EXPECT_EQ(do_push(2, 0x1122), "ok");
  EXPECT_EQ(b.rsp(), 0xabcdfffeu);
  EXPECT_EQ(b.read(0x1fffe, 2), 0x1122u);
  EXPECT_EQ(do_pop(2), "ok");
  EXPECT_EQ(value, 0x1122u);
  EXPECT_EQ(b.rsp(), 0xabcd0000u);
}

TEST_F(Stack, PushThatStraddlesTheLimitFaults) {
  b.enter_real();
  b.rsp() = 1;
  EXPECT_EQ(do_push(2, 0), "#SS(0x0)");
  EXPECT_EQ(b.rsp(), 1u);
  b.rsp() = 0xffff;
  EXPECT_EQ(do_pop(2), "#SS(0x0)");
}

TEST_F(Stack, ThirtyTwoBitStackClearsTheUpperHalfOfRsp) {
  b.enter_compatibility(3);
  b.rsp() = 0xffffffff00000000 | Bench::kStack3;
  EXPECT_EQ(do_push(4, 0xdeadbeef), "ok");
  EXPECT_EQ(b.rsp(), Bench::kStack3 - 4);
  EXPECT_EQ(b.read(Bench::kStack3 - 4, 4), 0xdeadbeefu);
}

TEST_F(Stack, NonCanonicalStackIn64BitMode) {
  b.enter_long(0);
  b.rsp() = 0x0000800000000008;
  EXPECT_EQ(do_push(8, 0), "#SS(0x0)");
  EXPECT_EQ(do_pop(8), "#SS(0x0)");
}

TEST_F(Stack, PageFaultLeavesRspAlone) {
  b.enter_long(3);
  b.map_page(Bench::kStack3 - 0x1000, 0);
  EXPECT_EQ(do_push(8, 0), "#PF(0x6)");
  EXPECT_EQ(b.v.fault.address, Bench::kStack3 - 8);
  EXPECT_EQ(b.rsp(), Bench::kStack3);
}

TEST_F(Stack, PeekReadsAboveTheTop) {
  b.enter_long(0);
  b.put_on_stack(8, {1, 2, 3});
  EXPECT_TRUE(peek(b.v, 8, 16, value));
  EXPECT_EQ(value, 3u);
  EXPECT_EQ(b.rsp(), Bench::kStack0 - 24);
}

}  // namespace
}  // namespace vellum::test
