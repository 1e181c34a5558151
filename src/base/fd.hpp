// Owners of host resources: file descriptors and memory mappings.
#pragma once

#include <span>
#include <utility>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~FileDescriptor();

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

  /// Opens a file; the error names the path and the reason.
  static Result<FileDescriptor> open(const std::string& path, int flags, unsigned mode = 0644);

 private:
  int fd_ = -1;
};

/// Opens /dev/null in place of standard descriptors that our parent closed, lest a file of ours take the
/// number and receive the guest's output. Call before anything is opened.
void reserve_standard_descriptors();

class Mapping {
 public:
  Mapping() = default;
  Mapping(void* address, std::size_t size) : address_(static_cast<u8*>(address)), size_(size) {}
  Mapping(Mapping&& other) noexcept
      : address_(std::exchange(other.address_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Mapping();

  u8* data() const { return address_; }
  std::size_t size() const { return size_; }
  std::span<u8> span() const { return {address_, size_}; }

  /// mmap(2) with the arguments as they are. `size` in bytes, more than 0.
  static Result<Mapping> create(std::size_t size, int protection, int flags, int fd = -1, i64 offset = 0);

 private:
  u8* address_ = nullptr;
  std::size_t size_ = 0;
};

/// A regular file mapped read-only, or an error that names it: missing, unreadable, empty, a directory.
struct FileContents {
  Mapping mapping;
  std::span<const u8> bytes() const { return mapping.span(); }
  static Result<FileContents> map(const std::string& path);
};

}  // namespace vellum
