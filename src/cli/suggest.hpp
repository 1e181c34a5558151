// "Did you mean": the word of a list that a mistyped one is closest to.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace vellum::cli {

/// Edits (insert, delete, change, swap neighbours) from one word to the other.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The closest of `words`, if it is close enough to be what was meant: a third of its letters at most wrong,
/// or `word` is the beginning of it and of no other.
std::optional<std::string> suggest(std::string_view word, std::span<const std::string> words);

}  // namespace vellum::cli
