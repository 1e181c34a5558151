#include "io/disk/image_disk.hpp"

#include <cerrno>
#include <cstring>

namespace vellum {

using Kind = DiskRequest::Kind;

ImageDisk::ImageDisk(EventLoop& loop, std::unique_ptr<IoQueue> queue, std::unique_ptr<Image> image,
                     const Options& options)
    : loop_(loop),
      queue_(std::move(queue)),
      image_(std::move(image)),
      options_(options),
      alive_(std::make_shared<Alive>(Alive{this})) {}

ImageDisk::~ImageDisk() {
  loop_.run_on_loop([this] {
    finish_all();
    if (!options_.read_only) {
      queue_->spawn([](ImageDisk& disk) -> Task<int> {
        Task<int> closing = disk.image_->close();
        const int error = co_await closing;
        if (error != 0)
          spdlog::error("'{}': what was written last could not be kept: {}", disk.image_->file().path(),
                        std::strerror(error));
        co_return 0;
      }(*this));
      finish_all();
    }
    alive_->disk = nullptr;
    image_.reset();
    queue_.reset();
  });
}

void ImageDisk::submit(DiskRequest request) {
  waiting_.push_back(std::move(request));
  if (start_posted_) return;
  start_posted_ = true;
  // All that a front end takes from its ring in one turn goes to the kernel together.
  loop_.post([alive = alive_] {
    if (alive->disk != nullptr) alive->disk->start_waiting();
  });
}

void ImageDisk::start_waiting() {
  start_posted_ = false;
  auto starting = std::exchange(waiting_, {});
  for (DiskRequest& request : starting) {
    queue_->spawn(serve(std::move(request)));
    while (options_.ordered && !queue_->idle()) queue_->wait();
  }
  queue_->kick();
}

void ImageDisk::finish_all() {
  for (;;) {
    start_waiting();
    if (queue_->idle()) {
      if (waiting_.empty()) return;
      continue;
    }
    queue_->wait();
  }
}

int ImageDisk::check(const DiskRequest& request) const {
  if (request.kind == Kind::kFlush) return 0;
  // GUEST-CONTROLLED: offset and length, from here on within the disk.
  if (request.offset % kSector != 0 || request.length % kSector != 0) return EINVAL;
  if (request.offset > size() || request.length > size() - request.offset) return EINVAL;
  if (request.kind == Kind::kRead) return 0;
  return options_.read_only ? EROFS : 0;
}

Task<int> ImageDisk::perform(const DiskRequest& request) {
  switch (request.kind) {
    case Kind::kRead:
      return image_->read(request.offset, request.buffers);
    case Kind::kWrite:
      return image_->write(request.offset, request.buffers);
    case Kind::kDiscard:
      return image_->discard(request.offset, request.length);
    case Kind::kWriteZeroes:
      return image_->write_zeroes(request.offset, request.length, request.may_unmap);
    case Kind::kFlush:
      break;
  }
  return image_->flush();
}

Task<int> ImageDisk::serve(DiskRequest request) {
  int error = check(request);
  const bool moves = request.kind == Kind::kRead || request.kind == Kind::kWrite;
  if (error == 0 && moves && total_length(request.buffers) != request.length) error = EINVAL;
  const bool flush_only = request.kind == Kind::kFlush;
  if (error == 0 && (flush_only ? !options_.read_only : request.length > 0)) {
    Task<int> performing = perform(request);
    error = co_await performing;
  }
  if (error == 0 && options_.write_through && !flush_only && request.kind != Kind::kRead) {
    Task<int> flushing = image_->flush();
    error = co_await flushing;
  }
  if (error != 0 && error != EINVAL && error != EROFS && failures_.allow())
    spdlog::error("'{}': a request of the guest's failed: {}", image_->file().path(), std::strerror(error));
  request.done(error);
  co_return 0;
}

}  // namespace vellum
