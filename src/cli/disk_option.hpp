// The value of `--disk`: FILE[,KEY=VALUE...]. A comma in a file's name is written twice, as for QEMU.
#pragma once

#include <string>

#include "base/result.hpp"
#include "io/disk/disk_config.hpp"

namespace vellum::cli {

Result<DiskConfig> parse_disk(const std::string& text);

}  // namespace vellum::cli
