// What a user says about one disk: plain data, made of `--disk` (cli/disk_option) and opened by open_disk().
#pragma once

#include <string>

#include "base/int.hpp"

namespace vellum {

enum class DiskCache : u8 {
  kWriteback,     ///< the host's page cache; a flush of the guest's makes it stable
  kNone,          ///< past the page cache where requests are aligned; a flush makes it stable
  kWritethrough,  ///< the page cache; a write has finished when it is stable
  kDirectsync,    ///< past the page cache; a write has finished when it is stable
  kUnsafe,        ///< the page cache; flushes do nothing
};

enum class DiskAio : u8 { kAuto, kUring, kThreads };

inline constexpr u64 kMaxDiskSerial = 20;  ///< bytes

struct DiskConfig {
  std::string file;    ///< path
  std::string format;  ///< "raw", "qcow2", or empty: look at the file
  bool read_only = false;
  bool ide = false;  ///< behind an IDE controller, not virtio-blk
  /// Where writes go, so that `file` stays as it is: a qcow2 image, made if it is not there; "tmp": one that
  /// nobody sees and that goes with the disk. Empty: to `file`.
  std::string overlay;
  DiskCache cache = DiskCache::kWriteback;
  DiskAio aio = DiskAio::kAuto;
  std::string serial;  ///< up to kMaxDiskSerial; empty: none
};

}  // namespace vellum
