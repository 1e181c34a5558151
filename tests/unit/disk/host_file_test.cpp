// HostFile over a queue that answers as a test says: what hosts and guests do at the wrong moment.
#include "io/disk/host_file.hpp"

#include <functional>
#include <optional>

#include "fixture.hpp"
#include "io/disk/image_disk.hpp"
#include "io/disk/raw_image.hpp"

namespace vellum {
namespace {

using test::Kind;
using Operation = IoOperation::Kind;

/// Answers what it is told to answer, and writes. Nothing else is asked of it.
class AnsweringQueue final : public IoQueue {
 public:
  void submit(IoOperation& operation) override { waiting_.push_back(&operation); }

  std::function<std::optional<int>(const IoOperation&)> answer;
  std::vector<Operation> seen;

 protected:
  bool turn(bool) override {
    const auto now = std::exchange(waiting_, {});
    for (IoOperation* const operation : now) {
      seen.push_back(operation->kind);
      const auto told = answer(*operation);
      operation->done(*operation, told ? *told : write(*operation));
    }
    return !now.empty();
  }

 private:
  static int write(const IoOperation& operation) {
    EXPECT_EQ(operation.kind, Operation::kWrite);
    return static_cast<int>(::pwritev(operation.fd, operation.buffers,
                                      static_cast<int>(operation.buffer_count),
                                      static_cast<off_t>(operation.offset)));
  }
  std::vector<IoOperation*> waiting_;
};

struct HostFileTest : test::DiskFixture {
  HostFileTest() {
    HostFile::Options options;
    options.writable = true;
    auto file = std::move(*HostFile::open(*queue, make_file("a", sectors(8)), options));
    disk.emplace(*loop, std::unique_ptr<IoQueue>(queue), std::make_unique<RawImage>(std::move(file), true),
                 ImageDisk::Options{});
  }
  AnsweringQueue* queue = new AnsweringQueue;  // the disk's
  std::optional<ImageDisk> disk;
};

TEST_F(HostFileTest, AFailedFlushIsFollowedByNoneThatDoesWell) {
  queue->answer = [](const IoOperation&) { return -EIO; };
  EXPECT_EQ(act(*disk, Kind::kFlush), EIO);
  queue->answer = [](const IoOperation&) { return 0; };  // as Linux does: the error is told once
  EXPECT_EQ(act(*disk, Kind::kFlush), EIO);
}

TEST_F(HostFileTest, WhatASignalInterruptsIsDoneAgain) {
  const auto interrupted_once = [this](const IoOperation&) {
    return queue->seen.size() % 2 == 1 ? -EINTR : 0;
  };
  queue->answer = interrupted_once;
  EXPECT_EQ(act(*disk, Kind::kFlush), 0);
  EXPECT_EQ(act(*disk, Kind::kDiscard, 0, 512), 0);
  EXPECT_EQ(act(*disk, Kind::kWriteZeroes, 0, 512, false), 0);
  EXPECT_EQ(queue->seen, (std::vector{Operation::kSync, Operation::kSync, Operation::kPunch,
                                      Operation::kPunch, Operation::kZero, Operation::kZero}));
}

TEST_F(HostFileTest, ADiscardThatTheHostRefusesIsNoError) {
  queue->answer = [](const IoOperation&) { return -EINVAL; };
  EXPECT_EQ(act(*disk, Kind::kDiscard, 512, 512), 0);
  queue->answer = [](const IoOperation&) { return -EIO; };
  EXPECT_EQ(act(*disk, Kind::kDiscard, 512, 512), EIO);
}

TEST_F(HostFileTest, AFirstSectorIsWrittenAsItWasJudged) {
  std::vector<u8> memory(1024, 7);
  queue->answer = [&memory](const IoOperation& operation) {
    // The other vCPU, before the kernel reads what is to be written.
    if (operation.kind == Operation::kWrite)
      std::ranges::copy(std::string_view("QFI\xfb\0\0\0\3", 8), memory.begin());
    return operation.kind == Operation::kWrite ? std::nullopt : std::optional(0);
  };
  EXPECT_EQ(
      perform(*disk, request(Kind::kWrite, 0, 1024, {{memory.data(), 100}, {&memory[100], 924}}, nullptr)),
      0);
  auto expected = sectors(8);
  std::fill_n(expected.begin(), 1024, u8{7});
  EXPECT_EQ(contents("a"), expected);
}

}  // namespace
}  // namespace vellum
