#include "cli/findings.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace vellum::cli {
namespace {

using State = Finding::State;

TEST(Findings, ALackHasItsAdviceBelow) {
  const std::vector<Finding> findings{{"memfd", State::kGood, "there", ""},
                                      {"tap", State::kLacking, "not there", "modprobe tun"}};

  EXPECT_EQ(as_text(findings),
            "ok       memfd              there\n"
            "lacking  tap                not there\n"
            "                            -> modprobe tun\n"
            "Vellum can run here.\n");
}

TEST(Findings, OneFatalFindingDecides) {
  const std::vector<Finding> findings{{"memfd", State::kFatal, "refused", "allow it"}};

  EXPECT_FALSE(can_run(findings));
  EXPECT_TRUE(as_text(findings).ends_with("Vellum cannot run here.\n"));
}

TEST(Findings, JsonEscapesWhatTheHostCallsThings) {
  const std::vector<Finding> findings{{"processor", State::kGood, "a \"name\" \\ with\ttabs", ""}};

  EXPECT_EQ(
      as_json(findings),
      "{\n  \"can_run\": true,\n  \"findings\": [\n"
      "    {\"name\": \"processor\", \"state\": \"ok\", \"detail\": \"a \\\"name\\\" \\\\ with\\u0009tabs\", "
      "\"advice\": \"\"}\n  ]\n}\n");
}

}  // namespace
}  // namespace vellum::cli
