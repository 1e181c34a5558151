// A raw image: the file's bytes are the disk's. A size that is no multiple of 512 is rounded up, as QEMU
// does: the rest of the last sector reads as zeroes, and a write to it makes the file longer.
#pragma once

#include "base/bits.hpp"
#include "io/disk/image.hpp"

namespace vellum {

class RawImage final : public Image {
 public:
  /// `probed`: nobody said that the file is raw. Then a guest may not write a first sector that would be
  /// taken for another format next time, for that could name any file of the host as its backing file.
  RawImage(std::unique_ptr<HostFile> file, bool probed)
      : file_(std::move(file)), size_(align_up(file_->initial_size(), 512)), probed_(probed) {}

  std::string_view format() const override { return "raw"; }
  u64 size() const override { return size_; }
  u64 cluster_size() const override { return 4096; }
  const HostFile& file() const override { return *file_; }
  const Image* backing() const override { return nullptr; }

  Task<int> read(u64 offset, std::span<const iovec> buffers) override { return file_->read(offset, buffers); }
  Task<int> write(u64 offset, std::span<const iovec> buffers) override;
  Task<int> discard(u64 offset, u64 length) override { return file_->discard(offset, length); }
  Task<int> write_zeroes(u64 offset, u64 length, bool may_unmap) override {
    return file_->zero(offset, length, may_unmap);
  }
  Task<int> flush() override { return file_->sync(); }
  Task<int> close() override { return flush(); }

 private:
  Task<int> write_first(std::span<const iovec> buffers);

  std::unique_ptr<HostFile> file_;
  u64 size_;
  bool probed_;
};

}  // namespace vellum
