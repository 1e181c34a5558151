// From what a user says about a disk to the Disk.
#pragma once

#include <memory>

#include "io/disk/disk.hpp"
#include "io/disk/disk_config.hpp"
#include "io/event_loop.hpp"

namespace vellum {

/// Opens, locks and checks the file and what it stands on. On the loop's thread, or while no thread runs;
/// `loop` outlives the disk. `ordered`: requests run one after the other, so that they finish in the same
/// order each time.
Result<std::shared_ptr<Disk>> open_disk(EventLoop& loop, const DiskConfig& config, bool ordered);

}  // namespace vellum
