// qcow2 images against QEMU's tools (package qemu-utils): made by qemu-img, written here at random, checked
// and compared by qemu-img.
#include "qcow2_fixture.hpp"

namespace vellum {
namespace {

using test::Kind;
using test::Model;
using test::Qcow2Fixture;

struct Variant {
  std::string name;
  std::string options;  ///< qemu-img's -o
  bool snapshot = false, backing = false, compressed = false;
  DiskAio aio = DiskAio::kAuto;
  DiskCache cache = DiskCache::kUnsafe;
};

struct Qcow2 : Qcow2Fixture, ::testing::WithParamInterface<Variant> {
  static constexpr u64 kSize = u64{3} << 20;

  // "disk": a qcow2 image of kSize with some data in it, as the variant says; returns that data.
  Model make() {
    Model model(kSize);
    for (int i = 0; i < 10; ++i) {
      auto range = model.any_range(random);
      model.set(range, random_bytes(range.length));
    }
    make_file("data", model.bytes);
    const std::string options = GetParam().options;
    if (GetParam().backing) {
      // Shorter than the disk.
      std::fill(model.bytes.begin() + 2 * (1 << 20), model.bytes.end(), u8{0});
      make_file("data", {model.bytes.begin(), model.bytes.begin() + 2 * (1 << 20)});
      run("qemu-img convert -O qcow2 data base");
      run(fmt::format("qemu-img create -f qcow2 -F qcow2 -b base -o {} disk {}", options, kSize));
    } else {
      run(fmt::format("qemu-img convert {} -O qcow2 -o {} data disk", GetParam().compressed ? "-c" : "",
                      options));
    }
    if (GetParam().snapshot) run("qemu-img snapshot -c first disk");
    return model;
  }
  DiskConfig disk_config() const {
    DiskConfig made = config("disk");
    made.cache = GetParam().cache;
    made.aio = GetParam().aio;
    return made;
  }
  void check(const Model& model) {
    run("qemu-img check disk");
    make_file("expected", model.bytes);
    run("qemu-img compare -f raw -F qcow2 expected disk");
  }
};

TEST_P(Qcow2, RandomRequestsOneByOne) {
  Model model = make();
  DiskConfig read_only = disk_config();
  read_only.read_only = true;
  EXPECT_EQ(read(*open(read_only), 0, kSize), model.bytes);
  for (int round = 0; round < 2; ++round) {
    const auto disk = open(disk_config());
    for (int i = 0; i < 60; ++i) {
      const auto range = model.any_range(random);
      const u64 what = random() % 16;
      if (what < 8) {
        const auto data = random_bytes(range.length);
        EXPECT_EQ(write(*disk, range.offset, data), 0);
        model.set(range, data);
      } else if (what < 10) {
        EXPECT_EQ(act(*disk, Kind::kWriteZeroes, range.offset, range.length, what == 8), 0);
        model.set(range, std::vector<u8>(range.length));
      } else if (what < 12) {
        // What is discarded may read as it was or as zeroes: what it reads now is what it stays.
        EXPECT_EQ(act(*disk, Kind::kDiscard, range.offset, range.length), 0);
        const auto now = read(*disk, range.offset, range.length);
        ASSERT_EQ(now.size(), range.length);
        const auto before = model.part(range);
        for (u64 b = 0; b < now.size(); ++b) ASSERT_TRUE(now[b] == 0 || now[b] == before[b]);
        model.set(range, now);
      } else if (what < 13) {
        EXPECT_EQ(act(*disk, Kind::kFlush), 0);
      } else {
        EXPECT_EQ(read(*disk, range.offset, range.length), model.part(range));
      }
    }
    EXPECT_EQ(read(*disk, 0, kSize), model.bytes);
  }
  check(model);
  if (GetParam().snapshot) {
    run("qemu-img convert -f qcow2 -l snapshot.name=first -O raw disk old");
    run("qemu-img compare -f raw -F raw data old");
  }
}

TEST_P(Qcow2, RandomRequestsAtOnce) {
  Model model = make();
  auto disk = open(disk_config());
  for (int round = 0; round < 5; ++round) {
    // Requests that do not overlap, all under way together.
    std::vector<std::vector<u8>> buffers;
    std::vector<int> results(64, -1);
    buffers.reserve(64);
    for (u64 i = 0; i < 64; ++i) {
      auto range = model.any_range(random);
      const u64 slot = kSize / 64;
      range = {i * slot + range.offset % (slot / 2), std::min(range.length, slot / 2)};
      const Kind kinds[] = {Kind::kWrite, Kind::kWrite, Kind::kRead, Kind::kWriteZeroes, Kind::kFlush};
      const Kind kind = kinds[random() % 5];
      auto& data = buffers.emplace_back(kind == Kind::kWrite ? random_bytes(range.length)
                                                             : std::vector<u8>(range.length));
      if (kind == Kind::kWrite || kind == Kind::kWriteZeroes) model.set(range, data);
      auto made = request(kind, range.offset, range.length, {{data.data(), data.size()}}, &results[i]);
      made.may_unmap = i % 2 == 0;
      disk->submit(std::move(made));
    }
    disk->finish_all();
    EXPECT_EQ(results, std::vector<int>(64, 0));
  }
  EXPECT_EQ(read(*disk, 0, kSize), model.bytes);
  disk.reset();
  check(model);
}

TEST_F(Qcow2Fixture, ItsRefcountTableGrows) {
  run("qemu-img create -f qcow2 -o cluster_size=512,refcount_bits=64 disk 20M");
  const auto table = [this] { return contents("disk")[59]; };  // its clusters, the lowest byte
  const u8 before = table();
  Model model(u64{20} << 20);
  model.bytes = random_bytes(model.bytes.size());
  auto disk = open(config("disk"));
  for (u64 at = 0; at < model.bytes.size(); at += 1 << 20)
    EXPECT_EQ(write(*disk, at, model.part({at, 1 << 20})), 0);
  disk.reset();
  EXPECT_GT(table(), before);
  run("qemu-img check disk");
  EXPECT_EQ(read(*open(config("disk")), 0, model.bytes.size()), model.bytes);
}

INSTANTIATE_TEST_SUITE_P(
    All, Qcow2,
    ::testing::Values(
        Variant{.name = "plain", .options = "compat=1.1", .cache = DiskCache::kNone},
        Variant{.name = "v2_backing", .options = "compat=0.10", .backing = true},
        Variant{.name = "backing", .options = "cluster_size=4k", .backing = true},
        Variant{.name = "small", .options = "cluster_size=512,refcount_bits=64"},
        Variant{.name = "large", .options = "cluster_size=2M", .aio = DiskAio::kThreads},
        Variant{.name = "one_bit", .options = "cluster_size=1k,refcount_bits=1"},
        Variant{.name = "four_bits", .options = "cluster_size=4k,refcount_bits=4", .snapshot = true},
        Variant{.name = "zlib_snapshot", .options = "cluster_size=8k", .snapshot = true, .compressed = true},
        Variant{.name = "zstd", .options = "compression_type=zstd", .compressed = true},
        Variant{.name = "preallocated", .options = "preallocation=metadata"}),
    [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace vellum
