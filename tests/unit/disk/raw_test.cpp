#include <sys/stat.h>

#include <algorithm>
#include <future>

#include "fixture.hpp"

namespace vellum {
namespace {

using test::Kind;

struct Variant {
  std::string name;
  DiskAio aio;
  DiskCache cache;
};

struct RawDisk : test::DiskFixture, ::testing::WithParamInterface<Variant> {
  DiskConfig config(const std::string& file) const {
    DiskConfig made;
    made.file = file;
    made.aio = GetParam().aio;
    made.cache = GetParam().cache;
    return made;
  }
  // No io_uring in containers, no O_DIRECT on some file systems.
  static bool host_may_refuse() {
    const Variant& variant = GetParam();
    return variant.aio == DiskAio::kUring || variant.cache == DiskCache::kNone ||
           variant.cache == DiskCache::kDirectsync;
  }
  void SetUp() override {
    make_file("probe", sectors(1));
    const auto probed = try_open(config(path("probe")));
    if (!probed && host_may_refuse()) GTEST_SKIP() << probed.error().message;
    ASSERT_TRUE(probed) << probed.error().message;
  }
};

TEST_P(RawDisk, ReadsAndWrites) {
  const auto disk = open(config(make_file("a", sectors(100))));
  EXPECT_EQ(disk->size(), 51200u);
  EXPECT_FALSE(disk->read_only());
  EXPECT_EQ(read(*disk, 512 * 7, 512), std::vector<u8>(512, 8));
  EXPECT_EQ(write(*disk, 512 * 7, std::vector<u8>(1024, 0xaa)), 0);
  EXPECT_EQ(read(*disk, 512 * 6, 512), std::vector<u8>(512, 7));
  EXPECT_EQ(read(*disk, 512 * 7, 1024), std::vector<u8>(1024, 0xaa));
  EXPECT_EQ(act(*disk, Kind::kFlush), 0);
  auto expected = sectors(100);
  std::fill_n(expected.begin() + 512 * 7, 1024, 0xaa);
  EXPECT_EQ(contents("a"), expected);
}

TEST_P(RawDisk, ScattersAndGathers) {
  const auto disk = open(config(make_file("a", sectors(16))));
  std::vector<u8> bytes(4096, 0xee);
  std::vector<iovec> pieces{{bytes.data() + 1024, 100}, {bytes.data(), 412}, {bytes.data() + 2048, 1024}};
  EXPECT_EQ(perform(*disk, request(Kind::kRead, 512, 1536, pieces, nullptr)), 0);
  EXPECT_EQ(bytes[1024], 2);
  EXPECT_EQ(bytes[1123], 2);
  EXPECT_EQ(bytes[1124], 0xee);
  EXPECT_EQ(bytes[411], 2);
  EXPECT_EQ(bytes[2048], 3);
  EXPECT_EQ(bytes[3071], 4);
  EXPECT_EQ(perform(*disk, request(Kind::kWrite, 4096, 1536, pieces, nullptr)), 0);
  EXPECT_EQ(read(*disk, 4096, 1536), read(*disk, 512, 1536));
}

TEST_P(RawDisk, TakesMorePiecesThanASystemCall) {
  const auto disk = open(config(make_file("a", sectors(4096))));
  std::vector<u8> bytes(u64{4096} * 512);
  std::vector<iovec> pieces;
  for (u64 i = 0; i < 4096; ++i) pieces.push_back({bytes.data() + i * 512, 512});
  EXPECT_EQ(perform(*disk, request(Kind::kRead, 0, bytes.size(), pieces, nullptr)), 0);
  EXPECT_EQ(bytes, sectors(4096));
}

TEST_P(RawDisk, ManyAtOnceAllFinish) {
  const auto disk = open(config(make_file("a", std::vector<u8>(1 << 20))));
  std::vector<std::vector<u8>> blocks;
  std::vector<int> results(1000, -1);
  for (u64 i = 0; i < 1000; ++i) blocks.emplace_back(512, static_cast<u8>(i + 1));
  for (u64 i = 0; i < 1000; ++i)
    disk->submit(request(Kind::kWrite, i * 512, 512, {{blocks[i].data(), 512}}, &results[i]));
  disk->finish_all();
  EXPECT_EQ(results, std::vector<int>(1000, 0));
  auto expected = sectors(1000);
  expected.resize(1 << 20);
  EXPECT_EQ(contents("a"), expected);
}

TEST_P(RawDisk, FinishesOnTheLoop) {
  const auto disk = open(config(make_file("a", sectors(64))));
  std::vector<u8> bytes(4096);
  std::promise<bool> finished;
  loop->start();
  loop->run_on_loop([&] {
    DiskRequest made = request(Kind::kRead, 512, 4096, {{bytes.data(), 4096}}, nullptr);
    made.done = [&](int) {
      DiskRequest next = request(Kind::kRead, 1024, 4096, {{bytes.data(), 4096}}, nullptr);
      next.done = [&](int error) { finished.set_value(error == 0 && loop->on_loop_thread()); };
      disk->submit(std::move(next));
    };
    disk->submit(std::move(made));
  });
  EXPECT_TRUE(finished.get_future().get());
  EXPECT_EQ(bytes[0], 3);
  loop->stop();
}

TEST_P(RawDisk, WritesZeroesAndDiscards) {
  const auto disk = open(config(make_file("a", sectors(64))));
  EXPECT_EQ(act(*disk, Kind::kWriteZeroes, 512, 4096), 0);
  EXPECT_EQ(act(*disk, Kind::kWriteZeroes, 8192, 4096, true), 0);
  EXPECT_EQ(act(*disk, Kind::kDiscard, 16384, 4096), 0);
  EXPECT_EQ(read(*disk, 0, 512), std::vector<u8>(512, 1));
  EXPECT_EQ(read(*disk, 512, 4096), std::vector<u8>(4096, 0));
  EXPECT_EQ(read(*disk, 4608, 512), std::vector<u8>(512, 10));
  EXPECT_EQ(read(*disk, 8192, 4096), std::vector<u8>(4096, 0));
  EXPECT_EQ(contents("a").size(), 64u * 512);
}

TEST_P(RawDisk, APartOfASectorAtTheEndIsAWholeOne) {
  auto bytes = sectors(3);
  bytes.resize(1100);
  const auto disk = open(config(make_file("a", bytes)));
  EXPECT_EQ(disk->size(), 1536u);
  const auto last = read(*disk, 1024, 512);
  ASSERT_EQ(last.size(), 512u);
  EXPECT_EQ(last[75], 3);
  EXPECT_EQ(last[76], 0);
  EXPECT_EQ(write(*disk, 1024, std::vector<u8>(512, 9)), 0);
  EXPECT_EQ(contents("a").size(), 1536u);
}

INSTANTIATE_TEST_SUITE_P(All, RawDisk,
                         ::testing::Values(Variant{"uring", DiskAio::kUring, DiskCache::kWriteback},
                                           Variant{"uring_none", DiskAio::kUring, DiskCache::kNone},
                                           Variant{"threads", DiskAio::kThreads, DiskCache::kWriteback},
                                           Variant{"threads_directsync", DiskAio::kThreads,
                                                   DiskCache::kDirectsync},
                                           Variant{"writethrough", DiskAio::kAuto, DiskCache::kWritethrough},
                                           Variant{"unsafe", DiskAio::kAuto, DiskCache::kUnsafe}),
                         [](const auto& one) { return one.param.name; });

struct DiskTest : test::DiskFixture {
  DiskConfig file(const std::string& name, bool read_only = false) const {
    DiskConfig made;
    made.file = path(name);
    made.read_only = read_only;
    return made;
  }
};

TEST_F(DiskTest, RefusesWhatIsNotWithinTheDisk) {
  make_file("a", sectors(8));
  const auto disk = open(file("a"));
  EXPECT_EQ(write(*disk, 4096, std::vector<u8>(512)), EINVAL);
  EXPECT_EQ(write(*disk, 3584, std::vector<u8>(1024)), EINVAL);
  EXPECT_EQ(write(*disk, ~u64{511}, std::vector<u8>(1024)), EINVAL);
  EXPECT_EQ(write(*disk, 100, std::vector<u8>(512)), EINVAL);
  EXPECT_EQ(write(*disk, 0, std::vector<u8>(100)), EINVAL);
  EXPECT_EQ(act(*disk, Kind::kDiscard, 512, 4096), EINVAL);
  EXPECT_EQ(act(*disk, Kind::kWriteZeroes, 0, ~u64{511}), EINVAL);
  std::vector<u8> bytes(512);
  EXPECT_EQ(perform(*disk, request(Kind::kRead, 0, 1024, {{bytes.data(), 512}}, nullptr)), EINVAL);
  EXPECT_EQ(read(*disk, 4096, 512).size(), 0u);
  EXPECT_EQ(act(*disk, Kind::kDiscard, 4096, 0), 0);
  EXPECT_EQ(contents("a"), sectors(8));
}

TEST_F(DiskTest, AReadOnlyDiskTakesNoWrites) {
  make_file("a", sectors(8));
  const auto disk = open(file("a", true));
  EXPECT_TRUE(disk->read_only());
  EXPECT_EQ(write(*disk, 0, std::vector<u8>(512)), EROFS);
  EXPECT_EQ(act(*disk, Kind::kDiscard, 0, 4096), EROFS);
  EXPECT_EQ(act(*disk, Kind::kWriteZeroes, 0, 4096), EROFS);
  EXPECT_EQ(act(*disk, Kind::kFlush), 0);
  EXPECT_EQ(read(*disk, 512, 512), std::vector<u8>(512, 2));
  EXPECT_EQ(contents("a"), sectors(8));
}

TEST_F(DiskTest, OrderedRequestsFinishInTheirOrder) {
  ordered = true;
  make_file("a", sectors(64));
  const auto disk = open(file("a"));
  std::vector<u8> bytes(512 * 64);
  std::vector<int> order;
  for (int i = 0; i < 64; ++i) {
    u8* const place = bytes.data() + u64{512} * static_cast<u64>(i);
    DiskRequest made = request(i % 3 == 0 ? Kind::kFlush : Kind::kRead, 0, 512, {{place, 512}}, nullptr);
    made.done = [&order, i](int) { order.push_back(i); };
    disk->submit(std::move(made));
  }
  disk->finish_all();
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_EQ(order.size(), 64u);
}

TEST_F(DiskTest, GoesWithRequestsUnderWay) {
  make_file("a", sectors(64));
  auto disk = open(file("a"));
  std::vector<u8> bytes(512 * 64, 0x55);
  int result = -1;
  disk->submit(request(Kind::kWrite, 0, bytes.size(), {{bytes.data(), bytes.size()}}, &result));
  disk.reset();
  EXPECT_EQ(result, 0);
  EXPECT_EQ(contents("a"), bytes);
}

TEST_F(DiskTest, TwoWritersAreRefusedAndManyReadersAreNot) {
  make_file("a", sectors(8));
  auto reader = open(file("a", true));
  auto second = open(file("a", true));
  EXPECT_NE(error_of(file("a")).find("' is in use by another program"), std::string::npos);
  reader.reset();
  second.reset();
  const auto writer = open(file("a"));
  EXPECT_NE(error_of(file("a")).find("' is in use by another program"), std::string::npos);
  EXPECT_NE(error_of(file("a", true)).find("' is being written to by another program"), std::string::npos);
}

TEST_F(DiskTest, WhatIsNoRawImageIsNotTakenForOne) {
  const auto is_refused = [&](std::string_view begin, std::string_view why) {
    std::vector<u8> bytes(64 << 10);
    std::ranges::copy(begin, bytes.begin());
    make_file("a", bytes);
    const auto disk = try_open(file("a"));
    return !disk && disk.error().message.find(why) != std::string::npos;
  };
  EXPECT_TRUE(is_refused({"QFI\xfb\0\0\0\x63", 8}, "of version 99"));
  EXPECT_TRUE(is_refused("conectix", "is a vpc image, which Vellum does not read"));
  make_file("a", std::vector<u8>(512, 'Q'));
  EXPECT_TRUE(try_open(file("a")));
}

TEST_F(DiskTest, AnImageThatWasProbedStaysWhatItIs) {
  make_file("a", sectors(8));
  std::vector<u8> header(1024);
  std::ranges::copy(std::string_view("QFI\xfb\0\0\0\3", 8), header.begin());
  {
    const auto probed = open(file("a"));
    EXPECT_EQ(write(*probed, 0, header), EPERM);
    EXPECT_EQ(write(*probed, 512, header), 0);
    EXPECT_EQ(read(*probed, 0, 512), std::vector<u8>(512, 1));
  }
  DiskConfig raw = file("a");
  raw.format = "raw";
  EXPECT_EQ(write(*open(raw), 0, header), 0);
}

TEST_F(DiskTest, ErrorsSayWhatToDo) {
  const auto says = [this](const std::string& name, std::string_view text) {
    const std::string error = error_of(file(name));
    EXPECT_NE(error.find(text), std::string::npos) << error;
    EXPECT_NE(error.find(path(name)), std::string::npos) << error;
  };
  says("missing", "No such file or directory");
  make_file("empty", {});
  says("empty", "is empty");
  std::filesystem::create_directory(path("folder"));
  says("folder", "irectory");
  ASSERT_EQ(::mkfifo(path("fifo").c_str(), 0600), 0);
  says("fifo", "neither a regular file nor a block device");
  std::vector<u8> vmdk(512);
  std::ranges::copy(std::string_view("KDMV"), vmdk.begin());
  make_file("vmdk", vmdk);
  says("vmdk", "vmdk image");
}

}  // namespace
}  // namespace vellum
