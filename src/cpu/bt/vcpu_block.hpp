// Where a vCPU's Context and its interpreter lie: one block of shared memory, so that translated code finds
// the vCPU's state at the same distance from the Context for every vCPU, and the block can be mapped once
// more in front of each table that the GS base selects (docs/design/flat-table.md).
#pragma once

#include "base/fd.hpp"
#include "cpu/bt/context.hpp"
#include "cpu/interp/interpreter.hpp"

namespace vellum::bt {

class VcpuBlock {
 public:
  /// The arguments are the interpreter's. Ends the program if the host has no memory for it.
  template <class... Arguments>
  explicit VcpuBlock(Arguments&&... arguments) : VcpuBlock() {
    // SAFETY: allocate() mapped kBytes bytes, zeroed and aligned to a page.
    layout_ = new (mapping_.data()) Layout(std::forward<Arguments>(arguments)...);
  }
  ~VcpuBlock() {
    if (layout_ != nullptr) layout_->~Layout();
  }
  VcpuBlock(const VcpuBlock&) = delete;
  VcpuBlock& operator=(const VcpuBlock&) = delete;

  Context& context() { return layout_->context; }
  interp::Interpreter& interpreter() { return layout_->interpreter; }
  /// From the Context to the vCPU's state, in bytes: the same in every block.
  i64 state_distance();

  /// Mapped shared at offset 0, it is the block again.
  int memfd() const { return fd_.get(); }
  static std::size_t bytes();

 private:
  struct Layout {
    template <class... Arguments>
    explicit Layout(Arguments&&... arguments) : interpreter(std::forward<Arguments>(arguments)...) {}
    Context context;
    interp::Interpreter interpreter;
  };

  VcpuBlock();

  FileDescriptor fd_;
  Mapping mapping_;
  Layout* layout_ = nullptr;
};

}  // namespace vellum::bt
