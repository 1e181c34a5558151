// The one way to the kernel's KVM interface (Documentation/virt/kvm/api.rst): a thin seam, so that tests can
// put a scripted kernel in its place. Numbers, structures and errors are the kernel's own.
#pragma once

#include <linux/kvm.h>

#include "base/fd.hpp"
#include "base/int.hpp"

namespace vellum::kvm {

// Requests whose structures end in a flexible array: the header's own numbers hold sizeof, which in C++ is
// another one than in the kernel's C.
struct XsaveBytes {
  u32 region[1024];
};
inline constexpr unsigned long kGetSupportedCpuid = _IOWR(KVMIO, 0x05, u64);
inline constexpr unsigned long kSetCpuid2 = _IOW(KVMIO, 0x90, u64);
inline constexpr unsigned long kSetGsiRouting = _IOW(KVMIO, 0x6a, u64);
inline constexpr unsigned long kGetMsrs = _IOWR(KVMIO, 0x88, u64);
inline constexpr unsigned long kSetMsrs = _IOW(KVMIO, 0x89, u64);
inline constexpr unsigned long kGetXsave = _IOR(KVMIO, 0xa4, XsaveBytes);
inline constexpr unsigned long kSetXsave = _IOW(KVMIO, 0xa5, XsaveBytes);

/// Every call returns what the system call returned, or -errno.
class KvmApi {
 public:
  virtual ~KvmApi() = default;
  /// A descriptor of /dev/kvm.
  virtual int open() = 0;
  /// ioctl(2). `argument` is a number or a pointer, as the request has it.
  virtual int call(int fd, unsigned long request, unsigned long argument) = 0;
  /// The kvm_run page of a vCPU, `size` bytes; nullptr if it cannot be mapped.
  virtual void* map_run(int vcpu_fd, std::size_t size) = 0;
  virtual void unmap_run(void* run, std::size_t size) = 0;
  virtual void close(int fd) = 0;

  template <class T>
  int call(int fd, unsigned long request, T* argument) {
    // SAFETY: the kernel reads or writes what the request's structure says; T is that structure.
    return call(fd, request, reinterpret_cast<unsigned long>(argument));
  }
};

/// The host's own.
KvmApi& host_api();

/// A descriptor that came from a KvmApi.
class Handle {
 public:
  Handle() = default;
  Handle(KvmApi& api, int fd) : api_(&api), fd_(fd) {}
  Handle(Handle&& other) noexcept
      : api_(std::exchange(other.api_, nullptr)), fd_(std::exchange(other.fd_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Handle() {
    if (fd_ >= 0) api_->close(fd_);
  }
  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }

  int call(unsigned long request, unsigned long argument = 0) const {
    return api_->call(fd_, request, argument);
  }
  template <class T>
  int call(unsigned long request, T* argument) const {
    return api_->call(fd_, request, argument);
  }

 private:
  KvmApi* api_ = nullptr;
  int fd_ = -1;
};

/// A vCPU's kvm_run page.
class RunPage {
 public:
  RunPage() = default;
  RunPage(KvmApi& api, void* page, std::size_t size)
      : api_(&api), page_(static_cast<kvm_run*>(page)), size_(size) {}
  RunPage(RunPage&& other) noexcept
      : api_(other.api_), page_(std::exchange(other.page_, nullptr)), size_(other.size_) {}
  RunPage& operator=(RunPage&& other) noexcept {
    std::swap(api_, other.api_);
    std::swap(page_, other.page_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~RunPage() {
    if (page_ != nullptr) api_->unmap_run(page_, size_);
  }
  kvm_run* get() const { return page_; }
  kvm_run* operator->() const { return page_; }
  kvm_run& operator*() const { return *page_; }
  /// The kernel bounds kvm_run::io.data_offset by the page; a software implementation may not.
  std::size_t size() const { return size_; }

 private:
  KvmApi* api_ = nullptr;
  kvm_run* page_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace vellum::kvm
