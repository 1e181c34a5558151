// The bytes of an empty qcow2 image (version 3, clusters of 64 KiB, 16-bit refcounts) on a backing image.
#pragma once

#include <string>
#include <vector>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

struct Qcow2Creation {
  u64 size = 0;                ///< of the disk in bytes, a multiple of 512, not 0
  std::string backing_file;    ///< as the image will name it
  std::string backing_format;  ///< "raw" or "qcow2"
};

/// Header, refcount table, refcount block, L1 table. Fails if the disk is too large, or the name too long or
/// not valid_backing_name().
Result<std::vector<u8>> empty_qcow2(const Qcow2Creation& what);

}  // namespace vellum
