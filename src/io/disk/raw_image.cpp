#include "io/disk/raw_image.hpp"

#include <array>
#include <cerrno>

#include "base/log.hpp"
#include "io/disk/probe.hpp"

namespace vellum {

Task<int> RawImage::write(u64 offset, std::span<const iovec> buffers) {
  return probed_ && offset == 0 ? write_first(buffers) : file_->write(offset, buffers);
}

Task<int> RawImage::write_first(std::span<const iovec> buffers) {
  // GUEST-CONTROLLED: see the constructor; requests are whole sectors. Another vCPU may change the buffers at
  // any time, so what is written is the copy that was looked at.
  std::array<u8, 512> first{};
  copy_from(first, buffers);
  if (probe_format(first) != "raw") {
    VELLUM_WARN_GUEST("'{}': the guest may not make an image of another format of it; format=raw allows it",
                      file_->path());
    co_return EPERM;
  }
  Buffers checked{buffer_of(std::span<const u8>(first))};
  append_slice(checked, buffers, first.size(), total_length(buffers) - first.size());
  Task<int> writing = file_->write(0, checked);
  const int error = co_await writing;
  co_return error;
}

}  // namespace vellum
