// Address space with inaccessible echoes: all that differs from it in bits 63..43 only. Code that leaves
// those bits to whoever computes an address reaches what it means to, or faults (docs/design/flat-table.md).
#pragma once

#include <vector>

#include "base/fd.hpp"
#include "base/result.hpp"

namespace vellum {

constexpr unsigned kEchoShift = 43;

/// Inaccessible mappings, `bytes` each (a multiple of 4 KiB): the first to be used as one likes, the others
/// its echoes below 2^47, to be kept for as long. Above, no process of 64-bit Linux has anything that it did
/// not ask for by address, but the constant page of vsyscalls. Fails if there is no such place, as where a
/// sanitizer has its shadow memory.
Result<std::vector<Mapping>> reserve_with_echoes(u64 bytes);

}  // namespace vellum
