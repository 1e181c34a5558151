#include "devices/legacy/coprocessor_error.hpp"

#include "fixture.hpp"

namespace vellum::test {
namespace {

struct X87Error : ::testing::Test {
  Wire irq;
  CoprocessorError device{irq};
};

TEST_F(X87Error, FerrRequestsAnInterruptUntilThePortIsWritten) {
  EXPECT_FALSE(device.drive_ferr(true));
  EXPECT_TRUE(irq.level);
  EXPECT_FALSE(device.drive_ferr(true));
  EXPECT_FALSE(device.drive_ferr(false));
  EXPECT_TRUE(irq.level) << "latched";
  out(device, 0, 0);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(irq.rises, 1);
}

TEST_F(X87Error, IgnneLastsAsLongAsFerr) {
  device.drive_ferr(true);
  out(device, 0, 0);
  EXPECT_TRUE(device.drive_ferr(true));
  EXPECT_FALSE(irq.level) << "the same error";
  EXPECT_FALSE(device.drive_ferr(false));
  EXPECT_FALSE(device.drive_ferr(true));
  EXPECT_EQ(irq.rises, 2);
}

TEST_F(X87Error, AWriteWithoutErrorDoesNothing) {
  out(device, 0, 0);
  EXPECT_FALSE(device.drive_ferr(true));
  EXPECT_TRUE(irq.level);
}

TEST_F(X87Error, ASavedStateAssertsItsLineAgain) {
  device.drive_ferr(true);
  Wire other;
  const auto state = decode_state<CoprocessorError::State>(device.save());
  ASSERT_TRUE(state);
  CoprocessorError restored(other, *state);
  EXPECT_TRUE(other.level);
  out(restored, 0, 0);
  EXPECT_TRUE(restored.drive_ferr(true));
}

}  // namespace
}  // namespace vellum::test
