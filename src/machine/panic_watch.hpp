// Recognises a Linux kernel panic in what the guest prints on its console.
//
// A kernel that panics with panic=-1 resets the machine exactly as a reboot would; the board cannot tell the
// two apart. What can is the line that every panic prints, "Kernel panic - not syncing: …" (kernel/panic.c).
// A panic that prints nothing on this console is not recognised, and passes for a reboot.
#pragma once

#include <mutex>
#include <optional>
#include <span>
#include <string>

#include "base/int.hpp"

namespace vellum {

class PanicWatch {
 public:
  /// Sees the next bytes of console output, in pieces of any size. GUEST-CONTROLLED. Any thread.
  void see(std::span<const u8> bytes);
  /// The first panic's message from "Kernel panic" to the end of its line, without control characters.
  std::optional<std::string> message() const;

 private:
  static constexpr std::size_t kMaxLine = 512;  ///< what goes beyond in one line is not looked at

  mutable std::mutex mutex_;  // leaf
  std::string line_;
  std::optional<std::string> message_;
};

}  // namespace vellum
