#include "machine/screenshot.hpp"

#include "base/write_file.hpp"
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
  auto written = write_file(path, bytes);
  if (!written) return tl::unexpected(std::move(written).error().context("--screenshot"));
  return {};
}

}  // namespace vellum
