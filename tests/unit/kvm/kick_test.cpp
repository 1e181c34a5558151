#include "cpu/kvm/kick.hpp"

#include <gtest/gtest.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

namespace vellum::kvm {
namespace {

std::string own_timers() {
  std::ifstream file("/proc/self/timers");
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(KickTimer, KicksItsOwnThreadUntilItIsDestroyed) {
  const KickTimer timer(1);
  ASSERT_TRUE(timer.armed());

  timespec left{60, 0};
  const int result = ::nanosleep(&left, &left);  // ended by the signal, as KVM_RUN would be

  EXPECT_EQ(result, -1);
  EXPECT_LT(left.tv_sec, 60);
}

// In a process of its own: its first timer has the number 0.
TEST(KickTimer, LeavesNoTimerBehind) {
  if (!std::ifstream("/proc/self/timers")) GTEST_SKIP() << "this kernel does not list timers";
  const auto check = [] {
    { const KickTimer timer(60'000'000'000); }
    ::_exit(own_timers().empty() ? 0 : 1);
  };

  EXPECT_EXIT(check(), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace vellum::kvm
