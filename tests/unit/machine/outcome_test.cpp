#include "machine/outcome.hpp"

#include <gtest/gtest.h>

#include "machine/panic_watch.hpp"

namespace vellum {
namespace {

using Kind = Outcome::Kind;

TEST(ExitStatus, OursAreEvenAndTheGuestsAreOdd) {
  EXPECT_EQ(exit_status({Kind::kPowerOff, 0, {}}), 0);
  EXPECT_EQ(exit_status({Kind::kReset, 0, {}}), 0);
  EXPECT_EQ(exit_status({Kind::kTripleFault, 0, "x"}), 4);
  EXPECT_EQ(exit_status({Kind::kPanic, 0, "x"}), 6);
  EXPECT_EQ(exit_status({Kind::kStuck, 0, "x"}), 8);
  EXPECT_EQ(exit_status({Kind::kDebugExit, 0, {}}), 1);
  EXPECT_EQ(exit_status({Kind::kDebugExit, 0x10, {}}), 0x21);
  EXPECT_EQ(exit_status({Kind::kDebugExit, 0xff, {}}), 0xff);
}

TEST(Describe, OnlyWhatWentWrongGetsAMessage) {
  EXPECT_EQ(describe({Kind::kPowerOff, 0, {}}), "");
  EXPECT_EQ(describe({Kind::kTripleFault, 0, "vCPU 0: triple fault"}),
            "the guest crashed: vCPU 0: triple fault");
}

void see(PanicWatch& watch, std::string_view text) {
  watch.see({reinterpret_cast<const u8*>(text.data()), text.size()});
}

TEST(PanicWatch, FindsTheLineInPiecesOfAnySize) {
  PanicWatch watch;
  for (const char c :
       std::string("[ 1.0] hello\r\n[ 1.1] Kernel panic - not syncing: VFS: Unable\r\nmore\r\n"))
    see(watch, std::string(1, c));
  EXPECT_EQ(watch.message(), "Kernel panic - not syncing: VFS: Unable");
}

TEST(PanicWatch, KeepsTheFirst) {
  PanicWatch watch;
  see(watch, "Kernel panic - not syncing: one\nKernel panic - not syncing: two\n");
  EXPECT_EQ(watch.message(), "Kernel panic - not syncing: one");
}

TEST(PanicWatch, SeesAPanicWhoseLineWasNeverFinished) {
  PanicWatch watch;
  see(watch, "Kernel panic - not syncing: cut");
  EXPECT_EQ(watch.message(), "Kernel panic - not syncing: cut");
}

TEST(PanicWatch, OrdinaryOutputIsNoPanicAndLongLinesAreBounded) {
  PanicWatch watch;
  see(watch,
      "Kernel panic, they said\n" + std::string(100'000, 'x') + "Kernel panic - not syncing: far out\n");
  EXPECT_EQ(watch.message(), std::nullopt);
}

}  // namespace
}  // namespace vellum
