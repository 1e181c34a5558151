// Locks on an image file against a second writer, understood by QEMU and its tools as well.
//
// QEMU locks single bytes with open-file-description locks (fcntl(2)), in two ranges: byte 100 + n says "I
// use permission n", byte 200 + n says "nobody else may". All are shared locks; whoever wants in takes his
// own, then looks whether another holds a byte that forbids it. The lock goes with the last descriptor of the
// open file, by SIGKILL too.
#pragma once

#include <string>

#include "base/result.hpp"

namespace vellum {

/// Locks the open file `fd` for writing, or for reading what nobody writes. The error says what to do. Where
/// the file system has no such locks it warns and succeeds.
Result<> lock_image(int fd, const std::string& path, bool writable);

}  // namespace vellum
