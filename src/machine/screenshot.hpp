// The guest's screen as a file.
#pragma once

#include <string>

#include "base/result.hpp"
#include "devices/display/adapter.hpp"

namespace vellum {

/// A PNG; or, where `path` ends in .txt, the text that the screen shows (nothing in a graphics mode).
Result<> write_screenshot(const vga::Adapter& display, const std::string& path);

}  // namespace vellum
