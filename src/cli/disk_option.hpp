// The value of `--disk` and `--floppy`: FILE[,KEY=VALUE...]. A comma in a file's name is written twice, as
// for QEMU.
#pragma once

#include <string>

#include "base/result.hpp"
#include "io/disk/disk_config.hpp"

namespace vellum::cli {

Result<DiskConfig> parse_disk(const std::string& text);
/// Raw unless it says otherwise; it has no bus and no serial number.
Result<DiskConfig> parse_floppy(const std::string& text);

}  // namespace vellum::cli
