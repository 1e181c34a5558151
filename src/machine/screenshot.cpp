#include "machine/screenshot.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "base/fd.hpp"
#include "io/png.hpp"

namespace vellum {

Result<> write_screenshot(const vga::Adapter& display, const std::string& path) {
  std::vector<u8> bytes;
  if (path.ends_with(".txt")) {
    const std::string text = display.text();
    bytes.assign(text.begin(), text.end());
  } else {
    const vga::Screen screen = display.screen();
    bytes = png_of(screen.width, screen.height, screen.rgb);
  }
  auto file = FileDescriptor::open(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (!file) return tl::unexpected(std::move(file).error().context("--screenshot"));
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t written = ::write(file->get(), &bytes[done], bytes.size() - done);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return fail_errno(fmt::format("--screenshot: cannot write '{}'", path), errno);
    done += static_cast<std::size_t>(written);
  }
  return {};
}

}  // namespace vellum
