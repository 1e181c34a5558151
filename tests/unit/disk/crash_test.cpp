// What a crash may leave of a qcow2 image: from the order in which operations reach the file, files are made
// as a killed process or a power failure could leave them. None is corrupt (leaks may be), and what was
// flushed is there.
#include <set>

#include "io/disk/image_disk.hpp"
#include "io/disk/qcow2_image.hpp"
#include "io/disk/raw_image.hpp"
#include "qcow2_fixture.hpp"
#include "recording_queue.hpp"

namespace vellum {
namespace {

using test::Kind;

struct Variant {
  std::string name, options;
  bool backing = false, snapshot = false, compressed = false;
};

struct Qcow2Crash : test::Qcow2Fixture, ::testing::WithParamInterface<Variant> {
  static constexpr u64 kSectors = 8192, kSlots = 16;  // requests of one batch are in different slots
  static constexpr std::size_t kBatches = 12;

  /// What a batch makes of the sectors that it writes to.
  using Batch = std::vector<std::pair<u64, u8>>;

  void make() {
    make_file("data", std::vector<u8>(kSectors * 512, 0xdd));
    if (GetParam().backing) {
      run(fmt::format("qemu-img create -f qcow2 -F raw -b data -o {} disk", GetParam().options));
    } else {
      run(fmt::format("qemu-img convert {} -O qcow2 -o {} data disk", GetParam().compressed ? "-c" : "",
                      GetParam().options));
    }
    if (GetParam().snapshot) run("qemu-img snapshot -c first disk");
    before = contents("disk");
  }

  // Batches of requests that run together, every third with a flush among them.
  void play() {
    auto owned = std::make_unique<test::RecordingQueue>(steps, random);
    HostFile::Options options;
    options.writable = true;
    auto file = std::move(*HostFile::open(*owned, path("disk"), options));
    auto image = std::move(*Qcow2Image::open(std::move(file), true));
    if (GetParam().backing) {
      options.writable = false;
      image->set_backing(
          std::make_unique<RawImage>(std::move(*HostFile::open(*owned, path("data"), options)), false));
    }
    ImageDisk disk(*loop, std::move(owned), std::move(image), {});
    for (std::size_t number = 0; number < kBatches; ++number) {
      Batch& batch = batches.emplace_back();
      std::vector<int> results(kSlots, -1);
      std::vector<std::vector<u8>> data;
      for (u64 slot = 0; slot < kSlots; ++slot) {
        const u64 room = kSectors / kSlots;
        const u64 first = random() % room, count = 1 + random() % std::min<u64>(room - first, 80);
        const bool zeroes = random() % 4 == 0;
        const u8 value = zeroes ? u8{0} : static_cast<u8>(1 + number * kSlots + slot);
        for (u64 i = 0; i < count; ++i) batch.emplace_back(slot * room + first + i, value);
        data.emplace_back(count * 512, value);
        auto made = request(zeroes ? Kind::kWriteZeroes : Kind::kWrite, (slot * room + first) * 512,
                            count * 512, {{data[slot].data(), data[slot].size()}}, &results[slot]);
        made.may_unmap = random() % 2 == 0;
        disk.submit(std::move(made));
      }
      if (number % 3 == 2) {
        auto flush = request(Kind::kFlush, 0, 0, {}, nullptr);
        flush.done = [&, number](int error) {
          EXPECT_EQ(error, 0);
          flushes.push_back({steps.size(), number});
        };
        disk.submit(std::move(flush));
      }
      disk.finish_all();
      EXPECT_EQ(results, std::vector<int>(kSlots, 0));
      batch_ends.push_back(steps.size());
    }
    EXPECT_EQ(flushes.size(), kBatches / 3);
  }

  void judge(std::size_t count, bool power_lost) {
    make_file("disk", test::crashed_file(before, steps, count, power_lost, random));
    const int status = status_of("qemu-img check disk");
    const auto log = contents("log");
    EXPECT_TRUE(status == 0 || status == 3) << std::string(log.begin(), log.end()) << " after step " << count;
    std::size_t flushed = 0;  // the batches before this one
    for (const Flush& flush : flushes)
      if (flush.step <= count) flushed = flush.batch;
    std::vector<std::set<u8>> allowed(kSectors, std::set<u8>{0xdd});
    for (std::size_t number = 0; number < kBatches && (number == 0 || batch_ends[number - 1] <= count);
         ++number)
      for (const auto& [sector, value] : batches[number]) {
        if (number < flushed) allowed[sector].clear();
        allowed[sector].insert(value);
      }
    DiskConfig read_only = config("disk");
    read_only.read_only = true;
    const auto bytes = read(*open(read_only), 0, kSectors * 512);
    ASSERT_EQ(bytes.size(), kSectors * 512);
    for (u64 sector = 0; sector < kSectors; ++sector) {
      const u8 value = bytes[sector * 512];
      ASSERT_TRUE(allowed[sector].contains(value))
          << "sector " << sector << " is " << int{value} << " after step " << count;
      ASSERT_EQ(bytes[sector * 512 + 511], value);
    }
  }

  struct Flush {
    std::size_t step, batch;
  };
  std::vector<u8> before;
  std::vector<test::IoStep> steps;
  std::vector<Batch> batches;
  std::vector<std::size_t> batch_ends;
  std::vector<Flush> flushes;
};

TEST_P(Qcow2Crash, LosesNothingThatWasFlushed) {
  make();
  play();
  for (int i = 0; i < 7 && !HasFatalFailure(); ++i) judge(random() % (steps.size() + 1), i % 3 != 0);
}

INSTANTIATE_TEST_SUITE_P(
    All, Qcow2Crash,
    ::testing::Values(
        Variant{.name = "plain", .options = "compat=1.1"},
        Variant{.name = "small", .options = "cluster_size=512"},
        Variant{.name = "growing", .options = "cluster_size=512,refcount_bits=64", .snapshot = true},
        Variant{.name = "v2_backing", .options = "compat=0.10", .backing = true},
        Variant{.name = "backing", .options = "cluster_size=2k", .backing = true},
        Variant{.name = "snapshot", .options = "cluster_size=4k", .snapshot = true},
        Variant{.name = "zlib", .options = "cluster_size=8k", .compressed = true}),
    [](const auto& one) { return one.param.name; });

}  // namespace
}  // namespace vellum
