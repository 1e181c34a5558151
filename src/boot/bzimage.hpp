// Linux's bzImage (Documentation/arch/x86/boot.rst), from untrusted bytes.
#pragma once

#include <asm/bootparam.h>

#include <span>

#include "base/address.hpp"
#include "base/result.hpp"

namespace vellum {

struct BzImage {
  setup_header header{};        ///< as in the file; fields its version lacks are zero
  std::span<const u8> kernel;   ///< the protected-mode part: the decompressor with its payload
  std::span<const u8> payload;  ///< the compressed vmlinux within it; empty before protocol 2.08

  /// How many bytes from its load address on the kernel uses before it reads the memory map.
  u64 init_size = 0;
  GuestPhys load_address;      ///< preferred, or where it must be
  u64 command_line_limit = 0;  ///< characters, without the terminating zero
  GuestPhys initrd_limit;      ///< one past the highest byte an initrd may take

  bool has_64bit_entry() const { return (header.xloadflags & XLF_KERNEL_64) != 0; }
  /// What the payload claims to unpack to: its last four bytes.
  u64 unpacked_size() const;
};

bool is_linux_image(std::span<const u8> bytes);

/// Fails with kBadInput (truncated, damaged) or kUnsupported (zImage, protocol before 2.02). Spans refer to
/// `bytes`.
Result<BzImage> parse_bzimage(std::span<const u8> bytes);

}  // namespace vellum
