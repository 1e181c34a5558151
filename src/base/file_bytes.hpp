// Bytes at an offset of an open file: what read(2) and write(2) leave short is finished. They block.
#pragma once

#include <span>
#include <string>

#include "base/int.hpp"
#include "base/result.hpp"

namespace vellum {

/// `name`: for the error.
Result<> write_at(int fd, const std::string& name, u64 offset, std::span<const u8> bytes);
/// How many bytes there were up to the file's end: `to.size()` at most.
Result<u64> read_at(int fd, const std::string& name, u64 offset, std::span<u8> to);

}  // namespace vellum
