#include "devices/virtio/balloon.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "driver.hpp"

namespace vellum {
namespace {

using test::Ring;

constexpr u64 kRam = 8 << 20, kRings = 0x10000, kList = 0x60000, kRecords = 0x70000, kData = 0x200000;
constexpr u64 kStats = 2, kOom = 4, kPoison = 16, kReports = 32;
constexpr u64 kTarget = 0, kActual = 4, kPoisonValue = 12;

struct VirtioBalloon : ::testing::Test {
  void make(const virtio::Balloon::State& state) {
    balloon = std::make_unique<virtio::Balloon>(IoContext{loop.get(), synchronous}, options, state);
    balloon->connect(transport);
  }
  void make() { make(virtio::Balloon::State::power_up(options)); }
  void start(u64 features) { test::start(*balloon, features, {&inflate, &deflate, &third, &fourth, &fifth}); }
  virtio::Balloon::State saved() {
    balloon->quiesce();
    return *decode_state<virtio::Balloon::State>(balloon->save());
  }
  /// A list of pages in memory; its descriptor.
  test::DescriptorSpec list(std::initializer_list<u32> pages, u64 at = kList) {
    u64 to = at;
    for (const u32 page : pages) inflate.put<u32>(std::exchange(to, to + 4), page);
    return {at, static_cast<u32>(to - at)};
  }
  test::DescriptorSpec statistics(std::initializer_list<std::pair<u16, u64>> values) {
    u64 to = kRecords;
    for (const auto& [tag, value] : values) {
      inflate.put<u16>(to, tag), inflate.put<u64>(to + 2, value);
      to += 10;
    }
    return {kRecords, static_cast<u32>(to - kRecords)};
  }
  void fill(u64 at, u64 pages) {
    for (u64 n = 0; n < pages; ++n) inflate.put<u8>(at + n * kPageSize, 7);
  }
  u8 read(u64 at) { return inflate.get<u8>(at); }
  /// So that only data makes a difference.
  void touch(Ring& ring) { ring.put<u32>(ring.state.device, 0), ring.put<u16>(ring.state.device + 134, 0); }
  u64 held() const {
    struct stat status {};
    ::fstat(ram->memfd(), &status);
    return static_cast<u64>(status.st_blocks) * 512;
  }
  /// A row of --stats; nothing: there is none.
  std::optional<u64> row(std::string_view name) const {
    std::vector<StatRow> rows;
    balloon->stats(rows);
    const auto found = std::ranges::find(rows, name, &StatRow::name);
    return found == rows.end() ? std::nullopt : std::optional(found->count);
  }

  std::unique_ptr<GuestRam> ram = std::move(*GuestRam::create(kRam));
  test::CountingTransport transport{*ram};
  std::unique_ptr<EventLoop> loop = std::move(*EventLoop::create());
  Ring inflate{*ram, kRings, 16, false}, deflate{*ram, kRings + 0x10000, 16, false},
      third{*ram, kRings + 0x20000, 16, false}, fourth{*ram, kRings + 0x30000, 16, false},
      fifth{*ram, kRings + 0x40000, 16, false};
  virtio::BalloonOptions options{256};
  bool synchronous = true;
  std::unique_ptr<virtio::Balloon> balloon;
};

TEST_F(VirtioBalloon, OffersWhatWasAskedFor) {
  make();
  EXPECT_EQ(balloon->features() & 0xffff, kStats | kPoison | kReports);
  EXPECT_EQ(balloon->read_config(kTarget, 4), 256u);
  options = {0, true, false, 0};
  make();
  EXPECT_EQ(balloon->features() & 0xffff, kStats | kPoison | kOom);
}

TEST_F(VirtioBalloon, PagesInTheBalloonAreTheHosts) {
  make();
  start(0);
  fill(kData, 8);
  inflate.add({list({0x203, 0x200, 0x201, 0x206})});
  touch(inflate);
  const u64 before = held();

  balloon->notify(0);

  EXPECT_EQ(inflate.used_index(), 1);
  EXPECT_EQ(inflate.used_length(0), 0u);
  EXPECT_EQ(transport.queue_interrupts, 1u);
  EXPECT_EQ(held(), before - 4 * kPageSize);
  EXPECT_EQ(read(0x200000), 0);
  EXPECT_EQ(read(0x202000), 7);
  EXPECT_EQ(read(0x206000), 0);
  EXPECT_EQ(read(0x207000), 7);
}

TEST_F(VirtioBalloon, PagesTakenBackAreUsedAgain) {
  make();
  start(0);
  inflate.add({list({0x200})});
  balloon->notify(0);
  deflate.add({list({0x200})});
  balloon->notify(1);
  EXPECT_EQ(deflate.used_index(), 1);
  fill(kData, 1);
  EXPECT_EQ(read(kData), 7);
  EXPECT_EQ(row("pages given"), 1u);
  EXPECT_EQ(row("pages taken back"), 1u);
}

TEST_F(VirtioBalloon, NumbersThatAreNoRamsArePassedOver) {
  make();
  start(0);
  fill(kData, 1);
  inflate.add({list({0xffffffff, 0x800, 0x200, 0x200, 0xffffffff})});
  balloon->notify(0);
  EXPECT_EQ(inflate.used_index(), 1);
  EXPECT_EQ(read(kData), 0);
  EXPECT_EQ(row("pages not given back"), 2u);
  EXPECT_EQ(balloon->status() & virtio::kNeedsReset, 0);
}

TEST_F(VirtioBalloon, AListOfMorePagesThanThereAreEndsIt) {
  make();
  start(0);
  inflate.add({{0, kRam / kPageSize * 4 + 4}});
  balloon->notify(0);
  EXPECT_NE(balloon->status() & virtio::kNeedsReset, 0);
  fill(kData, 1);
  inflate.add({list({0x200})});
  balloon->notify(0);
  EXPECT_EQ(read(kData), 7);
  EXPECT_EQ(inflate.used_index(), 0);
}

TEST_F(VirtioBalloon, AListOverSeveralBuffersIsOne) {
  make();
  start(0);
  fill(kData, 4);
  list({0x201, 0x202, 0x203});
  inflate.add({{kList, 6}, {kList + 6, 6}, {kList, 3}});  // three pages, and a piece of a fourth
  balloon->notify(0);
  EXPECT_EQ(read(0x200000), 7);
  EXPECT_EQ(read(0x201000), 0);
  EXPECT_EQ(read(0x202000), 0);
  EXPECT_EQ(read(0x203000), 0);
}

// 2,048 pages are one turn of the loop's: without a thread on it the second does not come by itself.
TEST_F(VirtioBalloon, SavedWithinAListItGoesOnThere) {
  synchronous = false;
  make();
  start(0);
  fill(kData, 2);
  for (u32 n = 0; n < 2048; ++n) inflate.put<u32>(0x100000 + 4 * n, n < 2047 ? 0x7ff : 0x200);
  inflate.add({{0x100000, 1024}, {0x100400, 2047 * 4 - 1024}, {0x100000 + 2047 * 4, 4}});
  inflate.add({list({0x7fe, 0x7fe})});
  inflate.add({list({0x201})});
  balloon->resume();  // what a notification does on the loop
  EXPECT_EQ(read(0x200000), 0);
  EXPECT_EQ(inflate.used_index(), 1);
  const auto state = saved();
  EXPECT_EQ(state.virtio.queues[0].next_available, 1);
  EXPECT_EQ(state.done, 0u);

  make(state);
  EXPECT_EQ(read(0x201000), 7);
  balloon->resume();

  EXPECT_EQ(inflate.used_index(), 3);
  EXPECT_EQ(read(0x201000), 0);
}

TEST_F(VirtioBalloon, APieceOfAListIsNotDoneTwice) {
  synchronous = false;
  make();
  start(0);
  inflate.add({{0x100000, 2040 * 4}});
  inflate.add({{0x100000, 40}});
  balloon->resume();
  const auto state = saved();
  EXPECT_EQ(state.virtio.queues[0].next_available, 1);
  EXPECT_EQ(state.done, 8u * 4);
  make(state);
  balloon->resume();
  EXPECT_EQ(inflate.used_index(), 2);
  EXPECT_EQ(row("pages given"), 2u);
}

TEST_F(VirtioBalloon, TheTargetIsConfiguration) {
  make();
  balloon->set_target(1);
  EXPECT_EQ(transport.config_interrupts, 0u);  // nobody to tell
  start(0);
  balloon->set_target(0x12345);
  EXPECT_EQ(transport.config_interrupts, 1u);
  EXPECT_EQ(balloon->read_config(kTarget, 4), 0x12345u);
  balloon->set_target(0x12345);
  EXPECT_EQ(transport.config_interrupts, 1u);
}

TEST_F(VirtioBalloon, TheDriverSaysHowMuchThereIs) {
  make();
  start(0);
  balloon->write_config(kActual, 4, 0x10203);
  balloon->write_config(kTarget, 4, 9);
  EXPECT_EQ(balloon->actual(), 0x10203u);
  EXPECT_EQ(balloon->read_config(kActual, 4), 0x10203u);
  EXPECT_EQ(balloon->read_config(kTarget, 4), 256u);
  EXPECT_EQ(saved().actual, 0x10203u);
  balloon->set_status(0);
  EXPECT_EQ(balloon->actual(), 0u);
}

TEST_F(VirtioBalloon, StatisticsAreTold) {
  make();
  start(kStats);
  third.add({statistics({{4, 1000}, {5, u64{5} << 40}, {77, 1}})});
  balloon->notify(2);
  EXPECT_EQ(third.used_index(), 0);  // the device's until it asks again
  EXPECT_EQ(row("guest: bytes unused"), 1000u);
  EXPECT_EQ(row("guest: bytes of memory"), u64{5} << 40);
  EXPECT_EQ(row("guest: major page faults"), std::nullopt);
  const std::vector<std::pair<std::string_view, u64>> told{{"free_memory", 1000},
                                                           {"total_memory", u64{5} << 40}};
  EXPECT_EQ(balloon->report().statistics, told);
}

TEST_F(VirtioBalloon, StatisticsFromBeforeTheStartAreTold) {
  make();
  third.add({statistics({{4, 1000}})});
  start(kStats);
  EXPECT_EQ(row("guest: bytes unused"), 1000u);
}

TEST_F(VirtioBalloon, StatisticsAreAskedForAgain) {
  synchronous = false;
  options.stats_seconds = 1;
  make();
  loop->start();
  start(kStats);
  third.add({statistics({{4, 1000}})});
  balloon->notify(2);
  for (int n = 0; n < 500 && third.used_index() == 0; ++n)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(third.used_index(), 1);
  third.add({statistics({{4, 2000}})});
  balloon->notify(2);
  loop->run_on_loop([] {});
  EXPECT_EQ(row("guest: bytes unused"), 2000u);
  loop->run_on_loop([this] { balloon.reset(); });
}

TEST_F(VirtioBalloon, ARestoredDeviceHasTheBufferForStatistics) {
  make();
  start(kStats);
  third.add({statistics({{4, 1000}})});
  balloon->notify(2);
  const auto state = saved();
  EXPECT_EQ(state.virtio.queues[2].next_available, 0);
  make(state);
  EXPECT_EQ(row("guest: bytes unused"), 1000u);
  statistics({{4, 3000}});
  balloon->resume();
  EXPECT_EQ(row("guest: bytes unused"), 3000u);
  EXPECT_EQ(saved().virtio.queues[2].next_available, 0);
}

TEST_F(VirtioBalloon, ReportedPagesAreTheHosts) {
  make();
  start(kStats | kReports);
  fill(kData, 8);
  fifth.add({{kData, 2 * kPageSize, true}, {kData + 3 * kPageSize + 1, 2 * kPageSize, true}});
  touch(fifth);
  const u64 before = held();
  balloon->notify(4);
  EXPECT_EQ(fifth.used_index(), 1);
  EXPECT_EQ(held(), before - 3 * kPageSize);
  EXPECT_EQ(read(0x201000), 0);
  EXPECT_EQ(read(0x203000), 7);  // not all of it
  EXPECT_EQ(read(0x204000), 0);
  EXPECT_EQ(read(0x205000), 7);
  EXPECT_EQ(row("pages reported free"), 3u);
}

// As Linux does.
TEST_F(VirtioBalloon, QueuesMayBeNumberedWithoutGaps) {
  make();
  fifth.state.ready = false;
  start(kStats | kReports);
  fill(kData, 1);
  fourth.add({{kData, kPageSize, true}});
  balloon->notify(3);
  EXPECT_EQ(read(kData), 0);

  balloon->set_status(0);
  fourth.state.ready = false;
  start(kReports);
  fill(kData, 1);
  third.put<u16>(third.state.driver + 2, 0);
  third.add({{kData, kPageSize, true}});
  balloon->notify(2);
  EXPECT_EQ(third.used_index(), 1);
  EXPECT_EQ(read(kData), 0);
}

TEST_F(VirtioBalloon, PagesThatTheDriverFillsWithSomethingStay) {
  make();
  balloon->write_config(kPoisonValue, 4, 0xaaaaaaaa);
  start(kPoison | kReports);
  fill(kData, 1);
  fifth.add({{kData, kPageSize, true}});
  balloon->notify(4);
  EXPECT_EQ(fifth.used_index(), 1);
  EXPECT_EQ(read(kData), 7);
  EXPECT_EQ(saved().poison, 0xaaaaaaaa);
}

TEST_F(VirtioBalloon, AQueueTakenBackIsForgotten) {
  synchronous = false;
  make();
  start(kStats);
  third.add({statistics({{4, 1000}})});
  inflate.add({{0x100000, 2040 * 4}});
  inflate.add({{0x100000, 40}});
  balloon->resume();
  balloon->disable_queue(0);
  balloon->disable_queue(2);
  const auto state = saved();
  EXPECT_EQ(state.done, 0u);
  EXPECT_EQ(state.virtio.queues[0].next_available, 0);
  EXPECT_FALSE(state.virtio.queues[0].ready);
}

}  // namespace
}  // namespace vellum
