// Stores of the interpreter in the dirty log.
#include "flat_guest.hpp"

namespace vellum::interp {
namespace {

TEST_F(FlatGuest, EachRoundOfTheDirtyLogHasTheStoresOfItsTime) {
  code({0xa3, 0x00, 0x00, 0x01, 0x00, 0xf4, 0xeb, 0xf8});  // again: MOV [kData], EAX; HLT; JMP again
  run();
  ram_->start_dirty_log();
  const u64 nothing = ram_->take_dirty_pages()[0];
  state_.activity = Activity::kRunning;
  run();
  const u64 first = ram_->take_dirty_pages()[0];
  const u64 quiet = ram_->take_dirty_pages()[0];
  state_.activity = Activity::kRunning;
  run();
  const u64 second = ram_->take_dirty_pages()[0];

  EXPECT_EQ(nothing, 0u);
  EXPECT_EQ(first, u64{1} << (kData / kPageSize));
  EXPECT_EQ(quiet, 0u);
  EXPECT_EQ(second, first);
}

}  // namespace
}  // namespace vellum::interp
