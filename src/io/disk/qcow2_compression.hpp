// Compressed clusters of qcow2: one raw deflate stream (window of 4 KiB) or one zstd frame each.
#pragma once

#include <span>

#include "io/disk/qcow2_format.hpp"

namespace vellum {

/// Fills `cluster` from `compressed`, which may be longer than the stream. GUEST-CONTROLLED: false if that is
/// no such stream, or one of another length.
bool decompress_cluster(Qcow2Compression kind, std::span<const u8> compressed, std::span<u8> cluster);

}  // namespace vellum
