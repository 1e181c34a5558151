// The native child has no memory besides the case's that a case would meet by chance. Its own stack and
// libraries are where this process has them, as it is this one's fork.
#include "native_runner.hpp"

#include <gtest/gtest.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <memory>

#include "x86/exception.hpp"

namespace vellum::differential {
namespace {

constexpr u8 kLoad[] = {0x48, 0x8b, 0x03};   // mov rax, [rbx]
constexpr u8 kStore[] = {0x48, 0x89, 0x03};  // mov [rbx], rax

Case access(std::span<const u8> code, u64 address) {
  Case c;
  std::copy(code.begin(), code.end(), c.code.begin());
  c.length = static_cast<u8>(code.size());
  c.in.rip = kCode;
  c.in.gpr[x86::kRsp] = kReadWrite + 1024;
  c.in.gpr[x86::kRbx] = address;
  c.in.fp.fcw() = 0x37f;
  c.in.fp.mxcsr() = 0x1f80;
  return c;
}

u64 start_of_stack() {
  std::ifstream file("/proc/self/maps");
  for (std::string line; std::getline(file, line);)
    if (line.find("[stack]") != line.npos) return std::stoull(line, nullptr, 16);
  return 0;
}

class NativeChild : public testing::Test {
 protected:
  void SetUp() override { runner_ = std::move(NativeRunner::create().value()); }
  Outcome run(const Case& c) {
    Outcome outcome;
    EXPECT_TRUE(runner_->run({&c, 1}, {&outcome, 1}));
    return outcome;
  }
  // Neither can be read nor written.
  void expect_absent(u64 address) {
    for (const std::span<const u8> code : {std::span<const u8>(kLoad), std::span<const u8>(kStore)}) {
      const Outcome outcome = run(access(code, address));
      EXPECT_EQ(outcome.vector, x86::kPf) << std::hex << address;
      EXPECT_EQ(outcome.cr2, address);
    }
  }
  std::unique_ptr<NativeRunner> runner_;
};

TEST_F(NativeChild, HasNoStackThatGrows) {
  const u64 stack = start_of_stack();
  ASSERT_NE(stack, 0u);
  expect_absent(stack - (u64{1} << 20));
  expect_absent(stack - 4096);
  expect_absent(reinterpret_cast<u64>(__builtin_frame_address(0)) & ~u64{7});
}

TEST_F(NativeChild, HasNoLibraries) {
  expect_absent(reinterpret_cast<u64>(stdout) & ~u64{7});
  expect_absent(reinterpret_cast<u64>(::environ) & ~u64{7});
}

TEST_F(NativeChild, HasNoHeap) {
  const auto small = std::make_unique<u64>(0);
  const auto large = std::make_unique<u64[]>(1 << 20);
  expect_absent(reinterpret_cast<u64>(small.get()));
  expect_absent(reinterpret_cast<u64>(large.get()));
}

TEST_F(NativeChild, HasNoThreadData) {
  expect_absent(reinterpret_cast<u64>(__builtin_thread_pointer()));
}

TEST_F(NativeChild, HasTheDataPagesAndNothingBesideThem) {
  expect_absent(kReadWrite - 8);
  expect_absent(kReadOnly + kPageSize);
  EXPECT_EQ(run(access(kLoad, kReadOnly)).vector, kNoFault);
  EXPECT_EQ(run(access(kStore, kReadOnly)).vector, x86::kPf);
  EXPECT_EQ(run(access(kStore, kReadWrite)).vector, kNoFault);
}

TEST_F(NativeChild, KnowsItsProgramAndTheRigAsItsOwn) {
  static const u64 kOfTheProgram = 0x1234;
  const u64 program = reinterpret_cast<u64>(&kOfTheProgram);
  EXPECT_EQ(run(access(kLoad, program)).out.gpr[x86::kRax], kOfTheProgram);
  EXPECT_TRUE(runner_->is_own_memory(program));
  EXPECT_TRUE(runner_->is_own_memory(kCodeAlias));
  EXPECT_TRUE(runner_->is_own_memory(kShared + sizeof(Shared) - 1));
  EXPECT_FALSE(runner_->is_own_memory(kReadWrite));
  EXPECT_FALSE(runner_->is_own_memory(start_of_stack() - (u64{1} << 20)));
}

}  // namespace
}  // namespace vellum::differential
