// IoQueue over io_uring. The completion ring is looked at after each submission, so that what the page cache
// answers at once costs one system call; the eventfd is switched off meanwhile and only tells of what comes
// later.
#include <fcntl.h>
#include <liburing.h>

#include <cerrno>
#include <cstring>
#include <deque>

#include "base/assert.hpp"
#include "base/barrier.hpp"
#include "io/disk/io_queue.hpp"

namespace vellum {
namespace {

class UringQueue final : public IoQueue {
 public:
  UringQueue(const io_uring& ring, EventFd completions) : ring_(ring), completions_(std::move(completions)) {}
  ~UringQueue() override { ::io_uring_queue_exit(&ring_); }

  static constexpr unsigned kEntries = 256;

  Result<> start(EventLoop& loop) {
    if (const int error = ::io_uring_register_eventfd(&ring_, completions_.fd()); error != 0)
      return fail_errno("io_uring takes no event descriptor", -error);
    return watch(loop, completions_);
  }

  void submit(IoOperation& operation) override {
    // More than the completion ring has room for waits here.
    if (waiting_.empty() && in_kernel_ < kEntries && prepare(operation)) return;
    waiting_.push_back(&operation);
  }

 protected:
  bool turn(bool block) override {
    while (!waiting_.empty() && in_kernel_ < kEntries && prepare(*waiting_.front())) waiting_.pop_front();
    ::io_uring_cq_eventfd_toggle(&ring_, false);
    int submitted = 0;
    if (unsubmitted_ > 0 || block) {
      do submitted = block ? ::io_uring_submit_and_wait(&ring_, 1) : ::io_uring_submit(&ring_);
      while (submitted == -EINTR);
      // EAGAIN and EBUSY: the kernel is short of something just now. Completions make room; the next turn
      // tries again.
      VELLUM_ASSERT(submitted >= 0 || submitted == -EAGAIN || submitted == -EBUSY, "io_uring_enter: {}",
                    std::strerror(-submitted));
      if (submitted > 0) unsubmitted_ -= static_cast<unsigned>(submitted);
      if (unsubmitted_ > 0) completions_.notify();  // a turn will come, even if nothing else is under way
    }
    bool ran = reap();
    ::io_uring_cq_eventfd_toggle(&ring_, true);
    store_load_barrier();  // the kernel sees it on, or we see what came while it was off
    ran |= reap();
    return ran;
  }

 private:
  bool prepare(IoOperation& operation) {
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring_);
    if (entry == nullptr) return false;
    switch (operation.kind) {
      case IoOperation::Kind::kRead:
        ::io_uring_prep_readv(entry, operation.fd, operation.buffers, operation.buffer_count,
                              operation.offset);
        break;
      case IoOperation::Kind::kWrite:
        ::io_uring_prep_writev(entry, operation.fd, operation.buffers, operation.buffer_count,
                               operation.offset);
        break;
      case IoOperation::Kind::kSync:
        ::io_uring_prep_fsync(entry, operation.fd, IORING_FSYNC_DATASYNC);
        break;
      case IoOperation::Kind::kPunch:
        ::io_uring_prep_fallocate(entry, operation.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                  static_cast<off_t>(operation.offset), static_cast<off_t>(operation.length));
        break;
      case IoOperation::Kind::kZero:
        ::io_uring_prep_fallocate(entry, operation.fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
                                  static_cast<off_t>(operation.offset), static_cast<off_t>(operation.length));
        break;
    }
    ::io_uring_sqe_set_data(entry, &operation);
    ++in_kernel_;
    ++unsubmitted_;
    return true;
  }

  bool reap() {
    bool ran = false;
    io_uring_cqe* entry = nullptr;
    while (::io_uring_peek_cqe(&ring_, &entry) == 0 && entry != nullptr) {
      auto* operation = static_cast<IoOperation*>(::io_uring_cqe_get_data(entry));
      const int result = entry->res;
      ::io_uring_cqe_seen(&ring_, entry);
      --in_kernel_;
      operation->done(*operation, result);
      ran = true;
    }
    return ran;
  }

  io_uring ring_;
  EventFd completions_;
  std::deque<IoOperation*> waiting_;
  unsigned in_kernel_ = 0;    ///< prepared and not completed
  unsigned unsubmitted_ = 0;  ///< of those, not handed over yet
};

// Every operation that prepare() makes.
bool has_operations(io_uring& ring) {
  io_uring_probe* probe = ::io_uring_get_probe_ring(&ring);
  if (probe == nullptr) return false;
  bool all = true;
  for (const int code : {IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC, IORING_OP_FALLOCATE})
    all = all && ::io_uring_opcode_supported(probe, code) != 0;
  ::io_uring_free_probe(probe);
  return all;
}

}  // namespace

Result<std::unique_ptr<IoQueue>> detail::create_uring_queue(EventLoop& loop) {
  VELLUM_TRY_ASSIGN(completions, EventFd::create());
  io_uring ring{};
  if (const int error = ::io_uring_queue_init(UringQueue::kEntries, &ring, 0); error != 0)
    return fail_errno("io_uring cannot be used here", -error);
  if (!has_operations(ring)) {
    ::io_uring_queue_exit(&ring);
    return fail(ErrorCode::kNotFound, "io_uring of this kernel lacks operations on files");
  }
  auto queue = std::make_unique<UringQueue>(ring, std::move(completions));
  VELLUM_TRY(queue->start(loop));
  return queue;
}

}  // namespace vellum
