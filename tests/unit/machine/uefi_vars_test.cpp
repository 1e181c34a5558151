#include "machine/uefi_vars.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "../temp_dir.hpp"

namespace vellum::test {
namespace {

std::vector<u8> contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

struct UefiVarsTest : testing::Test {
  UefiVarsTest() {
    config.firmware = FirmwareKind::kUefi;
    config.bios = directory.write("MY_CODE.fd", {1});
    directory.write("MY_VARS.fd", std::vector<u8>(2 * kPageSize, 'v'));
    config.uefi_vars = directory.path("kept");
  }
  std::string error() { return UefiVars::open(config, kPageSize).error().message; }

  TempDir directory;
  MachineConfig config;
  const std::vector<u8> fresh = std::vector<u8>(2 * kPageSize, 'v');
};

TEST_F(UefiVarsTest, ImagesComeInPairs) {
  EXPECT_EQ(uefi_vars_template("/usr/share/OVMF/OVMF_CODE_4M.fd"), "/usr/share/OVMF/OVMF_VARS_4M.fd");
  EXPECT_EQ(uefi_vars_template("OVMF_CODE.fd"), "OVMF_VARS.fd");
  EXPECT_EQ(uefi_vars_template("/CODE/x.fd"), "");
}

TEST_F(UefiVarsTest, WithoutAFileTheyAreACopy) {
  config.uefi_vars.clear();
  const auto vars = std::move(*UefiVars::open(config, kPageSize));
  const std::array<u8, 2> change{7, 8};

  ASSERT_TRUE(vars->store(5, change));
  EXPECT_EQ(vars->bytes()[5], 7);
  EXPECT_EQ(vars->bytes()[6], 8);
  EXPECT_EQ(contents_of(directory.path("MY_VARS.fd")), fresh);
}

TEST_F(UefiVarsTest, AFileIsMadeAndKeepsWhatIsStored) {
  const std::array<u8, 2> change{7, 8};

  ASSERT_TRUE((*UefiVars::open(config, kPageSize))->store(kPageSize - 1, change));
  const auto again = std::move(*UefiVars::open(config, kPageSize));

  EXPECT_EQ(again->bytes()[kPageSize - 2], 'v');
  EXPECT_EQ(again->bytes()[kPageSize - 1], 7);
  EXPECT_EQ(again->bytes()[kPageSize], 8);
  EXPECT_TRUE(std::ranges::equal(contents_of(config.uefi_vars), again->bytes()));
}

TEST_F(UefiVarsTest, TwoMachinesDoNotShareAFile) {
  const auto first = std::move(*UefiVars::open(config, kPageSize));

  EXPECT_NE(error().find("in use by another machine"), std::string::npos) << error();
}

TEST_F(UefiVarsTest, WhatCannotBeIsRefusedByName) {
  directory.write("kept", std::vector<u8>(kPageSize + 1));
  EXPECT_NE(error().find("kept' has 4097 bytes"), std::string::npos) << error();
  directory.write("kept", {});
  EXPECT_NE(error().find("kept' has 0 bytes"), std::string::npos) << error();
  config.uefi_vars = directory.path().string();
  EXPECT_NE(error().find("--uefi-vars"), std::string::npos) << error();
  config.uefi_vars = directory.path("new");
  config.bios = directory.path("firmware.fd");
  EXPECT_NE(error().find("--uefi-vars FILE"), std::string::npos) << error();
}

TEST_F(UefiVarsTest, FirmwareAndVariablesShare16Mib) {
  const auto refused = UefiVars::open(config, (16 << 20) - kPageSize);

  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("16 MiB for both"), std::string::npos);
}

}  // namespace
}  // namespace vellum::test
