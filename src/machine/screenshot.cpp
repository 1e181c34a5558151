#include "machine/screenshot.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

#include "base/log.hpp"
#include "base/write_file.hpp"
#include "io/png.hpp"

namespace vellum {

Result<ScreenFormat> screen_format(const std::string& path) {
  constexpr std::array<std::string_view, 8> kOthers = {".jpg", ".jpeg", ".gif", ".bmp",
                                                       ".ppm", ".webp", ".tif", ".tiff"};
  std::string end = std::filesystem::path(path).extension().string();
  std::ranges::transform(end, end.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  if (end == ".txt") return ScreenFormat::kText;
  if (std::ranges::find(kOthers, end) == kOthers.end()) return ScreenFormat::kPng;
  return fail(ErrorCode::kInvalidArgument,
              "'{}': a screen is written as a PNG or as text: name it .png or .txt", path);
}

Result<> write_screenshot(const vga::Adapter& display, const std::string& path) {
  VELLUM_TRY_ASSIGN(format, screen_format(path));
  std::vector<u8> bytes;
  if (format == ScreenFormat::kText) {
    const std::string text = display.text();
    if (text.empty())
      spdlog::warn("--screenshot '{}': the screen shows graphics, which have no text; name it .png", path);
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
