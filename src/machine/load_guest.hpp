// From a board just built to one about to run its kernel: what firmware and boot loader leave behind. Where
// firmware is to do that, nothing.
#pragma once

#include "boot/loader.hpp"
#include "machine/board.hpp"

namespace vellum {

/// Loads what `config` names into the board's RAM and sets the first vCPU's entry state. Errors name the
/// file.
Result<> load_guest(Board& board, const MachineConfig& config, const LoadProgress& progress);

}  // namespace vellum
