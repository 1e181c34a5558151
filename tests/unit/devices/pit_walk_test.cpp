// The closed form of the 8254's counters against the same counters moved pulse by pulse.
#include <gtest/gtest.h>

#include "devices/legacy/pit_channel.hpp"

namespace vellum::test {
namespace {

struct Walk {
  u8 mode;
  u16 count;
  bool bcd;
};
class PitWalk : public ::testing::TestWithParam<Walk> {};

TEST_P(PitWalk, AnyStepGivesWhatSinglePulsesGive) {
  PitChannel slow;
  slow.write_control(3, GetParam().mode, GetParam().bcd);
  slow.write_count(static_cast<u8>(GetParam().count));
  slow.write_count(static_cast<u8>(GetParam().count >> 8));
  slow.set_gate(false);
  slow.set_gate(true);
  PitChannel fast = slow;

  u64 slow_rises = 0, fast_rises = 0;
  u64 at = 0;
  for (u64 step = 1; at < 40'000; step = step * 7 % 1009 + 1) {
    while (slow.pulse < at + step) slow_rises += slow.advance(slow.pulse + 1);
    at += step;
    fast_rises += fast.advance(at);
    ASSERT_EQ(fast, slow) << "at " << at;
    ASSERT_EQ(fast_rises, slow_rises) << "at " << at;
  }
}

TEST_P(PitWalk, TheNextRiseComesWhenPromised) {
  PitChannel c;
  c.write_control(3, GetParam().mode, GetParam().bcd);
  c.write_count(static_cast<u8>(GetParam().count));
  c.write_count(static_cast<u8>(GetParam().count >> 8));
  c.set_gate(false);
  c.set_gate(true);

  for (unsigned i = 0; i < 50; ++i) {
    const auto promised = c.pulses_to_rise();
    if (!promised) break;
    EXPECT_EQ(c.advance(c.pulse + *promised - 1), 0u);
    EXPECT_EQ(c.advance(c.pulse + 1), 1u);
    c.advance(c.pulse + i % 3);
  }
}

INSTANTIATE_TEST_SUITE_P(AllModes, PitWalk,
                         ::testing::Values(Walk{0, 5, false}, Walk{0, 9999, false}, Walk{1, 7, false},
                                           Walk{1, 0, false}, Walk{2, 2, false}, Walk{2, 3, false},
                                           Walk{2, 1193, false}, Walk{2, 0x0042, true}, Walk{3, 2, false},
                                           Walk{3, 3, false}, Walk{3, 7, false}, Walk{3, 1194, false},
                                           Walk{3, 0, true}, Walk{4, 1, false}, Walk{4, 300, false},
                                           Walk{5, 300, false}, Walk{7, 11, false}));

}  // namespace
}  // namespace vellum::test
