#include "io/disk/raw_image.hpp"

#include <array>
#include <cerrno>

#include "base/log.hpp"
#include "io/disk/probe.hpp"

namespace vellum {

Task<int> RawImage::write(u64 offset, std::span<const iovec> buffers) {
  if (probed_ && offset == 0) {  // GUEST-CONTROLLED: see the constructor; requests are whole sectors
    std::array<u8, 512> first{};
    copy_from(first, buffers);
    if (probe_format(first) != "raw") {
      VELLUM_WARN_GUEST("'{}': the guest may not make an image of another format of it; format=raw allows it",
                        file_->path());
      co_return EPERM;
    }
  }
  Task<int> writing = file_->write(offset, buffers);
  const int error = co_await writing;
  co_return error;
}

}  // namespace vellum
