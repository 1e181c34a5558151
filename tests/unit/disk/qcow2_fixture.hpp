// qcow2 images and QEMU's tools for them (package qemu-utils).
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "fixture.hpp"

namespace vellum::test {

struct Qcow2Fixture : DiskFixture {
  void SetUp() override {
    if (std::system("command -v qemu-img >/dev/null") != 0) GTEST_SKIP() << "no qemu-img: install qemu-utils";
  }
  int status_of(const std::string& command) const {
    return WEXITSTATUS(
        std::system(fmt::format("cd '{}' && ({}) >log 2>&1", folder.path().string(), command).c_str()));
  }
  /// In the folder; its output when it fails.
  void run(const std::string& command) const {
    const int status = status_of(command);
    const auto log = contents("log");
    EXPECT_EQ(status, 0) << command << "\n" << std::string(log.begin(), log.end());
  }
  DiskConfig config(const std::string& name) const {
    DiskConfig made;
    made.file = path(name);
    made.cache = DiskCache::kUnsafe;
    return made;
  }
  std::vector<u8> random_bytes(u64 size) {
    std::vector<u8> bytes(size);
    for (u8& byte : bytes) byte = static_cast<u8>(random());
    return bytes;
  }
  std::mt19937_64 random{20260101};
};

/// The disk, what its bytes should be, and random requests for both.
struct Model {
  explicit Model(u64 size) : bytes(size) {}
  struct Range {
    u64 offset, length;
  };
  Range any_range(std::mt19937_64& random) const {
    const u64 sectors = bytes.size() / 512;
    const u64 first = random() % sectors;
    const u64 limit = random() % 8 == 0 ? sectors : 1 + random() % 200;
    return {first * 512, (1 + random() % std::min(limit, sectors - first)) * 512};
  }
  std::vector<u8> part(Range range) const {
    const auto begin = bytes.begin() + static_cast<std::ptrdiff_t>(range.offset);
    return {begin, begin + static_cast<std::ptrdiff_t>(range.length)};
  }
  void set(Range range, const std::vector<u8>& data) {
    std::ranges::copy(data, bytes.begin() + static_cast<std::ptrdiff_t>(range.offset));
  }
  std::vector<u8> bytes;
};

}  // namespace vellum::test
