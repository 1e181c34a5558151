// The line that a terminal's user sees while large files load; gone when they have.
#pragma once

#include <chrono>
#include <string_view>

#include "boot/loader.hpp"

namespace vellum::cli {

class ProgressLine {
 public:
  /// Writes only if standard error is a terminal.
  ProgressLine();
  ~ProgressLine() { finish(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  void update(std::string_view what, u64 done, u64 total);
  /// Takes the line away, for good: what loads later, at a reset, does so behind the guest's own screen.
  void finish();

 private:
  bool active_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace vellum::cli
