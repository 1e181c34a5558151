// The stack of translated code: host return addresses, one for each call that the guest has not yet returned
// from, as far as is known. A guest's CALL is a CALL of the host and its RET a RET, so that the host's
// processor predicts it; where the host comes out, the guest's return address is compared
// (docs/design/binary-translation.md, "Calls and returns"). Nothing else is ever on it: C++ has its own stack
// (Context::host_stack), and signals theirs.
#pragma once

#include "base/fd.hpp"
#include "base/int.hpp"

namespace vellum::bt {

class ReturnStack {
 public:
  /// Ends the program if the host has no memory for it.
  ReturnStack();

  /// Forgets all. A return beyond the bottom comes to `unknown`, as do those after it. Returns what RSP is
  /// to be.
  u64 reset(const u8* unknown) {
    *bottom_ = unknown;
    return reinterpret_cast<u64>(bottom_);
  }
  /// RSP when the stack is full: the next CALL faults.
  bool full_at(u64 rsp) const { return rsp == reinterpret_cast<u64>(mapping_.data()) + kGuard; }
  /// RSP of an empty stack, whose bottom is as reset() left it.
  u64 bottom() const { return reinterpret_cast<u64>(bottom_); }

 private:
  static constexpr std::size_t kGuard = 4096, kBytes = 64 << 10;

  Mapping mapping_;
  const u8** bottom_ = nullptr;
};

}  // namespace vellum::bt
