// Names translated code for perf(1): /tmp/perf-PID.map, a line "address size name" for each unit (the format
// of tools/perf/Documentation/jit-interface.txt in Linux).
#pragma once

#include <string_view>

#include "base/fd.hpp"

namespace vellum::bt {

class PerfMap {
 public:
  /// Ready to add() if `on`; otherwise, or if the file cannot be made (which is logged), add() does nothing.
  /// `first` begins the process's file anew, others append to it.
  PerfMap(bool on, bool first);

  bool on() const { return static_cast<bool>(file_); }
  void add(const u8* code, std::size_t bytes, std::string_view name);

 private:
  FileDescriptor file_;
};

}  // namespace vellum::bt
