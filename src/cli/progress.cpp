#include "cli/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "io/terminal.hpp"

namespace vellum::cli {

ProgressLine::ProgressLine() : active_(RawTerminal::is_terminal(STDERR_FILENO)) {}

void ProgressLine::update(std::string_view what, u64 done, u64 total) {
  constexpr u64 kLarge = 4 << 20;  // smaller ones are there before anyone could read the line
  constexpr double kMiB = 1 << 20;
  if (!active_ || total < kLarge) return;
  const auto now = std::chrono::steady_clock::now();
  if (shown_ && done < total && now - last_ < std::chrono::milliseconds(50)) return;
  last_ = now;
  shown_ = true;
  fmt::print(stderr, "\r\033[Kvellum: {}: {:.0f} of {:.0f} MiB", what, static_cast<double>(done) / kMiB,
             static_cast<double>(total) / kMiB);
  std::fflush(stderr);
}

void ProgressLine::finish() {
  active_ = false;
  if (!shown_) return;
  fmt::print(stderr, "\r\033[K");
  std::fflush(stderr);
  shown_ = false;
}

}  // namespace vellum::cli
