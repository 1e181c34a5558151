// What kind of kernel a file is, decided from its contents only.
#pragma once

#include <optional>
#include <span>
#include <variant>

#include "boot/bzimage.hpp"
#include "boot/elf_image.hpp"
#include "boot/multiboot.hpp"

namespace vellum {

/// A file that is a kernel through its multiboot header alone.
struct FlatKernel {};

struct KernelImage {
  std::span<const u8> file;
  std::variant<BzImage, ElfImage, FlatKernel> format;
  std::optional<MultibootHeader> multiboot;

  /// For people: "bzImage", "ELF64", "multiboot".
  std::string_view format_name() const;
};

/// Recognises a kernel. Everything else is an error that names what the file is, as far as one can tell, and
/// says what to give instead: a kernel of another architecture, an EFI program, a compressed file, an
/// archive, text.
Result<KernelImage> recognise_kernel(std::span<const u8> file);

}  // namespace vellum
