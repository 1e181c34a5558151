#include "machine/engine_choice.hpp"

#include <gtest/gtest.h>

#include "../kvm/scripted_kvm.hpp"

namespace vellum {
namespace {

MachineConfig asking_for(const char* engine) {
  MachineConfig config;
  config.kernel = "k";
  config.engine = engine;
  return config;
}

kvm::ScriptedKvm broken_kvm() {
  kvm::ScriptedKvm api;
  api.open_result = -ENODEV;
  return api;
}

TEST(EngineChoice, AnEngineThatWasNamedIsTaken) {
  auto api = broken_kvm();

  EXPECT_EQ(choose_engine(asking_for("interp"), api)->engine, "interp");
  EXPECT_EQ(choose_engine(asking_for("bt"), api)->engine, "bt");
}

TEST(EngineChoice, AutoFallsBackToTheTranslator) {
  auto api = broken_kvm();

  const auto choice = choose_engine(asking_for("auto"), api);

  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->engine, "bt");
  ASSERT_EQ(choice->warnings.size(), 1u);
  EXPECT_NE(choice->warnings[0].find("opening it fails"), std::string::npos) << choice->warnings[0];
}

TEST(EngineChoice, KvmThatFailsItsTestIsAnErrorThatSaysWhatToDo) {
  auto api = broken_kvm();

  MachineConfig config = asking_for("kvm");
  config.kvm_patience = 50;  // the limit of time is another test's matter

  const auto choice = choose_engine(config, api);

  ASSERT_FALSE(choice);
  EXPECT_EQ(
      choice.error().message,
      "--engine kvm: /dev/kvm failed its self-test: opening it fails: No such device; choose --engine bt");
}

TEST(EngineChoice, TheVirtualClockNeedsAnEngineThatCounts) {
  kvm::ScriptedKvm api;
  MachineConfig config = asking_for("auto");
  config.clock = ClockKind::kVirtual;

  EXPECT_EQ(choose_engine(config, api)->engine, "bt");
  config.engine = "kvm";
  EXPECT_NE(check_config(config).error().message.find("--clock real"), std::string::npos);
}

}  // namespace
}  // namespace vellum
