// A directory for images, and disks on a loop whose thread does not run: finish_all() does all the waiting.
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/bits.hpp"
#include "io/disk/open_disk.hpp"

namespace vellum::test {

using Kind = DiskRequest::Kind;

struct DiskFixture : ::testing::Test {
  DiskFixture() {
    std::string name = std::filesystem::temp_directory_path() / "vellum-disk-XXXXXX";
    folder = ::mkdtemp(name.data());
  }
  ~DiskFixture() override { std::filesystem::remove_all(folder); }

  std::string path(const std::string& name) const { return folder / name; }
  std::string make_file(const std::string& name, const std::vector<u8>& bytes) const {
    std::ofstream(path(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return path(name);
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
  std::shared_ptr<Disk> open(const DiskConfig& config) {
    auto disk = try_open(config);
    EXPECT_TRUE(disk) << disk.error().message;
    return disk ? *disk : nullptr;
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

  std::filesystem::path folder;
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  bool ordered = false;
};

}  // namespace vellum::test
