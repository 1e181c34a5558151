// An IoQueue that performs what was submitted in a random order, and remembers it: from that come the files
// that a crash could have left.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <random>
#include <vector>

#include "io/disk/io_queue.hpp"

namespace vellum::test {

struct IoStep {
  IoOperation::Kind kind;
  u64 offset = 0, length = 0;
  std::vector<u8> bytes = {};  ///< written
  std::size_t covers = 0;      ///< of a kSync: so many steps had been done when it was asked for
};

class RecordingQueue final : public IoQueue {
 public:
  RecordingQueue(std::vector<IoStep>& steps, std::mt19937_64& random) : steps_(steps), random_(random) {}

  void submit(IoOperation& operation) override { waiting_.push_back({&operation, steps_.size()}); }

 protected:
  bool turn(bool) override {
    if (waiting_.empty()) return false;
    const std::size_t chosen = random_() % waiting_.size();
    const Waiting one = waiting_[chosen];
    waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(chosen));
    one.operation->done(*one.operation, perform(one));
    return true;
  }

 private:
  struct Waiting {
    IoOperation* operation;
    std::size_t steps_before;
  };
  int perform(const Waiting& one) {
    const IoOperation& operation = *one.operation;
    const auto offset = static_cast<off_t>(operation.offset);
    const auto count = static_cast<int>(operation.buffer_count);
    IoStep step{operation.kind, operation.offset, operation.length};
    ssize_t result = 0;
    switch (operation.kind) {
      case IoOperation::Kind::kRead:
        return static_cast<int>(::preadv(operation.fd, operation.buffers, count, offset));
      case IoOperation::Kind::kWrite:
        result = ::pwritev(operation.fd, operation.buffers, count, offset);
        for (int i = 0; i < count; ++i) {
          const auto* const bytes = static_cast<const u8*>(operation.buffers[i].iov_base);
          step.bytes.insert(step.bytes.end(), bytes, bytes + operation.buffers[i].iov_len);
        }
        break;
      case IoOperation::Kind::kSync:
        step.covers = one.steps_before;
        break;
      case IoOperation::Kind::kPunch:
      case IoOperation::Kind::kZero:
        result = ::fallocate(operation.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                             static_cast<off_t>(operation.length));
        break;
    }
    if (result < 0) return -errno;
    steps_.push_back(std::move(step));
    return static_cast<int>(result);
  }

  std::vector<IoStep>& steps_;
  std::mt19937_64& random_;
  std::vector<Waiting> waiting_;
};

/// What the file may hold after a crash when the first `count` steps had been done: all that a sync covers,
/// and of the rest everything (the process was killed) or any sectors (the host lost power).
inline std::vector<u8> crashed_file(std::vector<u8> file, const std::vector<IoStep>& steps, std::size_t count,
                                    bool power_lost, std::mt19937_64& random) {
  std::size_t stable = power_lost ? 0 : count;
  for (std::size_t i = 0; i < count; ++i)
    if (steps[i].kind == IoOperation::Kind::kSync) stable = std::max(stable, steps[i].covers);
  for (std::size_t i = 0; i < count; ++i) {
    const IoStep& step = steps[i];
    if (step.kind == IoOperation::Kind::kSync) continue;
    const bool writes = step.kind == IoOperation::Kind::kWrite;
    const u64 length = writes ? step.bytes.size() : step.length;
    if (writes && file.size() < step.offset + length) file.resize(step.offset + length);
    // Pieces end at the file's sectors.
    for (u64 at = 0; at < length;) {
      const u64 part = std::min(length - at, 512 - (step.offset + at) % 512);
      if ((i < stable || random() % 2 == 0) && step.offset + at + part <= file.size())
        for (u64 b = 0; b < part; ++b) file[step.offset + at + b] = writes ? step.bytes[at + b] : u8{0};
      at += part;
    }
  }
  return file;
}

}  // namespace vellum::test
