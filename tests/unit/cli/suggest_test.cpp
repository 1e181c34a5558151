#include "cli/suggest.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace vellum::cli {
namespace {

TEST(EditDistance, CountsEdits) {
  EXPECT_EQ(edit_distance("memory", "memory"), 0u);
  EXPECT_EQ(edit_distance("memroy", "memory"), 1u);  // neighbours swapped
  EXPECT_EQ(edit_distance("memry", "memory"), 1u);
  EXPECT_EQ(edit_distance("memoory", "memory"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
}

const std::vector<std::string> kWords{"--kernel", "--initrd",     "--memory",  "--cpus",
                                      "--cpu",    "--debug-exit", "--debugcon"};

TEST(Suggest, FindsTheMistypedWord) {
  EXPECT_EQ(suggest("--memroy", kWords), "--memory");
  EXPECT_EQ(suggest("--cpsu", kWords), "--cpus");
  EXPECT_EQ(suggest("--kernal", kWords), "--kernel");
}

TEST(Suggest, CompletesAnUnfinishedWord) {
  EXPECT_EQ(suggest("--mem", kWords), "--memory");
}

TEST(Suggest, SaysNothingForAStranger) {
  EXPECT_EQ(suggest("--frobnicate", kWords), std::nullopt);
  EXPECT_EQ(suggest("", kWords), std::nullopt);
}

}  // namespace
}  // namespace vellum::cli
