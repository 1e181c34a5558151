// The rare side of an asymmetric barrier: one thread pays, so that all the others need not.
#pragma once

namespace vellum {

/// A full memory barrier on every running thread of this process.
void barrier_on_all_threads();

}  // namespace vellum
