#include "cpu/kvm/api.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

namespace vellum::kvm {
namespace {

class HostApi final : public KvmApi {
 public:
  int open() override { return or_error(::open("/dev/kvm", O_RDWR | O_CLOEXEC)); }
  int call(int fd, unsigned long request, unsigned long argument) override {
    return or_error(::ioctl(fd, request, argument));
  }
  void* map_run(int vcpu_fd, std::size_t size) override {
    void* const page = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu_fd, 0);
    return page == MAP_FAILED ? nullptr : page;
  }
  void unmap_run(void* run, std::size_t size) override { ::munmap(run, size); }
  void close(int fd) override { ::close(fd); }

 private:
  static int or_error(int result) { return result < 0 ? -errno : result; }
};

}  // namespace

KvmApi& host_api() {
  static HostApi api;  // no state
  return api;
}

}  // namespace vellum::kvm
