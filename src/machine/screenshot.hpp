// The guest's screen as a file.
#pragma once

#include <string>

#include "base/result.hpp"
#include "devices/display/adapter.hpp"

namespace vellum {

enum class ScreenFormat : u8 { kPng, kText };

/// Which a file is to hold, by the end of its name: .txt text, else a PNG. Refuses .jpg and its like.
Result<ScreenFormat> screen_format(const std::string& path);

/// Warns where it is to be text and the screen shows graphics: the file is empty then.
Result<> write_screenshot(const vga::Adapter& display, const std::string& path);

}  // namespace vellum
