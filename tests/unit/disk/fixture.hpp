// A directory for images, and disks on a loop whose thread does not run: finish_all() does all the waiting.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "../temp_dir.hpp"
#include "base/bits.hpp"
#include "io/disk/open_disk.hpp"

namespace vellum::test {

using Kind = DiskRequest::Kind;

struct DiskFixture : ::testing::Test {
  std::string path(const std::string& name) const { return folder.path(name); }
  std::string make_file(const std::string& name, const std::vector<u8>& bytes) const {
    return folder.write(name, bytes);
  }
  std::vector<u8> contents(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  /// 512 bytes each, numbered from 1.
  static std::vector<u8> sectors(u64 count) {
    std::vector<u8> bytes(count * 512);
    for (u64 i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(i / 512 + 1);
    return bytes;
  }

  Result<std::shared_ptr<Disk>> try_open(const DiskConfig& config) {
    return open_disk(*loop, config, ordered);
  }
  /// What cannot be opened ends the test, which then shows why.
  std::shared_ptr<Disk> open(const DiskConfig& config) {
    auto disk = try_open(config);
    if (!disk) throw std::runtime_error(disk.error().message);
    return *disk;
  }
  std::string error_of(const DiskConfig& config) {
    auto disk = try_open(config);
    return disk ? "opened" : disk.error().message;
  }

  static DiskRequest request(Kind kind, u64 offset, u64 length, std::vector<iovec> buffers, int* result) {
    DiskRequest made;
    made.kind = kind;
    made.offset = offset;
    made.length = length;
    made.buffers = std::move(buffers);
    made.done = [result](int error) { *result = error; };
    return made;
  }
  static int perform(Disk& disk, DiskRequest made) {
    int result = -1;
    made.done = [&result](int error) { result = error; };
    disk.submit(std::move(made));
    EXPECT_EQ(result, -1) << "done from within submit()";
    disk.finish_all();
    return result;
  }
  static int write(Disk& disk, u64 offset, std::vector<u8> bytes) {
    return perform(disk,
                   request(Kind::kWrite, offset, bytes.size(), {{bytes.data(), bytes.size()}}, nullptr));
  }
  static int read(Disk& disk, u64 offset, std::vector<u8>& bytes) {
    return perform(disk, request(Kind::kRead, offset, bytes.size(), {{bytes.data(), bytes.size()}}, nullptr));
  }
  /// Empty after an error.
  static std::vector<u8> read(Disk& disk, u64 offset, u64 length) {
    std::vector<u8> bytes(length, 0xee);
    if (read(disk, offset, bytes) != 0) bytes.clear();
    return bytes;
  }
  static int act(Disk& disk, Kind kind, u64 offset = 0, u64 length = 0, bool may_unmap = false) {
    DiskRequest made = request(kind, offset, length, {}, nullptr);
    made.may_unmap = may_unmap;
    return perform(disk, std::move(made));
  }

  TempDir folder;
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  bool ordered = false;
};

}  // namespace vellum::test
