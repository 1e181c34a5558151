// The Disk over an Image: checks requests, starts them once a turn of the loop, counts them.
#pragma once

#include "base/log.hpp"
#include "io/disk/disk.hpp"
#include "io/disk/image.hpp"

namespace vellum {

class ImageDisk final : public Disk {
 public:
  struct Options {
    bool write_through = false;  ///< a write finishes when it is on stable storage
    bool read_only = false;
    bool ordered = false;  ///< one request after the other
  };
  ImageDisk(EventLoop& loop, std::unique_ptr<IoQueue> queue, std::unique_ptr<Image> image,
            const Options& options);
  ~ImageDisk() override;  ///< finishes all, and closes the image

  u64 size() const override { return image_->size(); }
  bool read_only() const override { return options_.read_only; }
  u64 discard_granularity() const override { return image_->cluster_size(); }
  void submit(DiskRequest request) override;
  void finish_all() override;

 private:
  // What work posted to the loop finds when the disk is gone.
  struct Alive {
    ImageDisk* disk;
  };
  void start_waiting();
  Task<int> serve(DiskRequest request);
  Task<int> perform(const DiskRequest& request);
  int check(const DiskRequest& request) const;

  EventLoop& loop_;
  std::unique_ptr<IoQueue> queue_;
  std::unique_ptr<Image> image_;
  const Options options_;
  RateLimit failures_;
  std::vector<DiskRequest> waiting_;  ///< submitted and not started
  bool start_posted_ = false;
  std::shared_ptr<Alive> alive_;
};

}  // namespace vellum
