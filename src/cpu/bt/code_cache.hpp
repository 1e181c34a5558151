// Memory for translated code, mapped twice: once writable, once executable, never both (W^X). Code is only
// ever appended, by one thread at a time; others may run it, and what is patched, meanwhile.
#pragma once

#include <asmjit/x86.h>

#include <atomic>

#include "base/int.hpp"

namespace vellum::bt {

class CodeCache {
 public:
  explicit CodeCache(std::size_t bytes);
  ~CodeCache();
  CodeCache(const CodeCache&) = delete;
  CodeCache& operator=(const CodeCache&) = delete;

  std::size_t used() const { return used_.load(std::memory_order_relaxed); }
  const u8* begin() const { return executable_; }
  bool room_for(std::size_t bytes) const { return used() + bytes <= bytes_; }
  /// Appends what `holder` was given to assemble; returns where it runs, or nullptr if asmjit refuses.
  const u8* append(asmjit::CodeHolder& holder);
  /// Overwrites four bytes of code at `at` (executable address): at once, if that is a multiple of 4.
  void patch32(const u8* at, u32 value);
  bool contains(u64 pc) const { return pc - reinterpret_cast<u64>(executable_) < used(); }
  /// Where `pc`, which this contains, is: bytes from the start.
  u32 offset_of(const void* pc) const { return static_cast<u32>(static_cast<const u8*>(pc) - executable_); }
  /// Overwrites the five bytes at `at` with a jump to `to`: at once, if that is a multiple of 8.
  void patch_jump(const u8* at, const u8* to);

  /// Whoever has just run code that others patched in sees, after this, all that they wrote before: the
  /// processor orders it so by itself, the C++ must say it.
  void see_patches() const { static_cast<void>(used_.load(std::memory_order_acquire)); }

 private:
  /// Before each patch.
  void publish() { used_.store(used(), std::memory_order_release); }

  std::size_t bytes_;
  std::atomic<std::size_t> used_{0};
  u8* executable_ = nullptr;
  u8* writable_ = nullptr;
};

}  // namespace vellum::bt
