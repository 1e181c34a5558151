// Messages for a terminal. What a user gave (a file's name, an option's value) stands in them as it was, and
// may hold anything.
#pragma once

#include <string>
#include <string_view>

namespace vellum::cli {

/// `message` with control characters shown as \n, \t or \x1b: one line, that moves no cursor and sets no
/// colour.
std::string one_line(std::string_view message);

}  // namespace vellum::cli
