#include "cpu/kvm/self_test.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include "cpu/kvm/self_test_code.hpp"
#include "scripted_kvm.hpp"

namespace vellum::kvm {
namespace {

using namespace self_test;

constexpr u64 kMs = 1'000'000;

struct SelfTest : testing::Test {
  SelfTestResult run() {
    return self_test_here(kvm, Patience{}, [this] { return now_ns += step_ns; });
  }
  ScriptedKvm::Step out(u32 value, u64 takes_ns = 0) {
    return [this, value, takes_ns](kvm_run& run) {
      now_ns += takes_ns;
      run.exit_reason = KVM_EXIT_IO;
      run.io.direction = KVM_EXIT_IO_OUT;
      run.io.port = kPort;
      run.io.size = 4;
      run.io.count = 1;
      run.io.data_offset = ScriptedKvm::kIoOffset;
      std::memcpy(kvm.io_data(), &value, sizeof value);
      return 0;
    };
  }
  static int halt(kvm_run& run) {
    run.exit_reason = KVM_EXIT_HLT;
    return 0;
  }
  static ScriptedKvm::Step access(u64 address, bool write) {
    return [address, write](kvm_run& run) {
      run.exit_reason = KVM_EXIT_MMIO;
      run.mmio.phys_addr = address;
      run.mmio.len = 4;
      run.mmio.is_write = write;
      std::memcpy(run.mmio.data, &kWritten, sizeof kWritten);
      return 0;
    };
  }
  void script_all(u64 loop_ns = 0) {
    kvm.steps = {out(kRealModeAnswer), halt,   access(kMmio, true), access(kMmio + 4, false),
                 out(~kMmioRead),      halt,   out(kMsrValue),      out(kUnmapped),
                 out(kWritten),        out(0), out(0, loop_ns)};
  }

  ScriptedKvm kvm;
  u64 now_ns = 0, step_ns = 1000;
};

TEST_F(SelfTest, PassesWhenEveryAnswerIsRight) {
  script_all();

  const auto result = run();

  EXPECT_TRUE(result.passed) << result.reason;
  EXPECT_TRUE(kvm.steps.empty());
}

TEST_F(SelfTest, NamesTheTestWhoseAnswerIsWrong) {
  script_all();
  kvm.steps[7] = out(0x1234);

  const auto result = run();

  EXPECT_FALSE(result.passed);
  EXPECT_EQ(result.reason, "its long-mode test: a page fault's address came out as 0x1234, not 0x5000");
}

TEST_F(SelfTest, GivesUpAGuestThatDoesNotEnd) {
  step_ns = 3 * kMs;
  for (int i = 0; i < 20; ++i) kvm.steps.push_back([](kvm_run&) { return -EINTR; });

  const auto result = run();

  EXPECT_EQ(result.reason, "its real-mode test did not end within 20 ms");
  EXPECT_FALSE(kvm.steps.empty());
}

TEST_F(SelfTest, CallsAGuestSlowThatIsManyTimesSlowerThanTheHost) {
  script_all(15 * kMs);  // the loop takes 1 µs here, by this clock

  const auto result = run();

  EXPECT_FALSE(result.passed);
  EXPECT_NE(result.reason.find("it is slow"), std::string::npos) << result.reason;
}

TEST_F(SelfTest, OneSlowLoopAmongOthersIsAnotherProcesssTurn) {
  script_all(4 * kMs);
  kvm.steps.push_back(out(0));
  kvm.steps.push_back(out(0));

  const auto result = run();

  EXPECT_TRUE(result.passed) << result.reason;
  EXPECT_TRUE(kvm.steps.empty());
}

TEST_F(SelfTest, SaysWhatAnUnexpectedExitWas) {
  kvm.steps = {[](kvm_run& run) {
    run.exit_reason = KVM_EXIT_INTERNAL_ERROR;
    return 0;
  }};

  EXPECT_EQ(run().reason, "its real-mode test ended with exit reason 17, not 2");
}

TEST_F(SelfTest, SaysWhatToDoWithoutPermission) {
  kvm.open_result = -EACCES;

  EXPECT_EQ(run().reason, "permission denied; add yourself to its group, usually 'kvm'");
}

TEST_F(SelfTest, RunsInAProcessOfItsOwn) {
  script_all();

  const auto result = run_self_test(kvm, {.snippet_ms = 5000, .total_ms = 20'000});

  ASSERT_TRUE(result);
  EXPECT_TRUE(result->passed) << result->reason;
}

TEST_F(SelfTest, KillsAKernelCallThatNeverReturns) {
  kvm.steps = {[](kvm_run&) -> int {
    for (;;) ::pause();  // whatever signals come
  }};

  const auto result = run_self_test(kvm, {.snippet_ms = 5, .total_ms = 30});

  ASSERT_TRUE(result);
  EXPECT_EQ(result->reason, "it did not answer within 30 ms");
}

TEST_F(SelfTest, SurvivesTheEndOfItsProcess) {
  kvm.steps = {[](kvm_run&) -> int { ::_exit(3); }};

  const auto result = run_self_test(kvm, {.snippet_ms = 5000, .total_ms = 20'000});

  ASSERT_TRUE(result);
  EXPECT_EQ(result->reason, "it ended the process that tested it");
}

}  // namespace
}  // namespace vellum::kvm
