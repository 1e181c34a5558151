// Where translated code may fault in the host, and what each such fault means.
#pragma once

#include <atomic>

#include "base/fd.hpp"
#include "cpu/bt/context.hpp"

namespace vellum::bt {

/// Grows only, and does not move: signal handlers read it while another thread adds to it.
class FaultTable {
 public:
  /// For `code_bytes` bytes of translated code. Ends the program if the host has no address space for it.
  explicit FaultTable(std::size_t code_bytes);

  /// Faults at offsets begin … end - 1 of the code are `site`'s. One thread at a time, offsets ascending.
  void add(u32 begin, u32 end, const Site& site);
  /// Whose a fault at `offset` is, or nullptr. Any thread; async-signal-safe.
  const Site* find(u32 offset) const;

 private:
  struct Range {
    u32 begin, end;
    const Site* site;
  };

  Mapping mapping_;
  std::atomic<std::size_t> count_{0};
};

}  // namespace vellum::bt
