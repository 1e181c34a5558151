// Memory for translated code, mapped twice: once writable, once executable, never both (W^X). Code is only
// ever appended; when the memory is full, all of it is dropped.
#pragma once

#include <asmjit/x86.h>

#include "base/int.hpp"

namespace vellum::bt {

class CodeCache {
 public:
  explicit CodeCache(std::size_t bytes);
  ~CodeCache();
  CodeCache(const CodeCache&) = delete;
  CodeCache& operator=(const CodeCache&) = delete;

  std::size_t used() const { return used_; }
  const u8* begin() const { return executable_; }
  bool room_for(std::size_t bytes) const { return used_ + bytes <= bytes_; }
  /// Appends what `holder` was given to assemble; returns where it runs, or nullptr if asmjit refuses.
  const u8* append(asmjit::CodeHolder& holder);
  /// Overwrites four bytes of code at `at` (executable address).
  void patch32(const u8* at, u32 value);
  bool contains(u64 pc) const { return pc - reinterpret_cast<u64>(executable_) < used_; }
  /// Where `pc`, which this contains, is: bytes from the start.
  u32 offset_of(const void* pc) const { return static_cast<u32>(static_cast<const u8*>(pc) - executable_); }
  /// Overwrites the five bytes at `at` with a jump to `to`.
  void patch_jump(const u8* at, const u8* to);
  /// Drops what was appended after `used` bytes.
  void truncate(std::size_t used) { used_ = used; }

 private:
  std::size_t bytes_;
  std::size_t used_ = 0;
  u8* executable_ = nullptr;
  u8* writable_ = nullptr;
};

}  // namespace vellum::bt
