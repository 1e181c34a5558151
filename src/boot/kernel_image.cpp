#include "boot/kernel_image.hpp"

#include <algorithm>

#include "boot/byte_view.hpp"
#include "boot/decompress.hpp"

namespace vellum {
namespace {

constexpr std::string_view kAdvice =
    "give it a Linux bzImage (vmlinuz), an ELF vmlinux or a multiboot kernel";

bool has_text_at(std::span<const u8> file, u64 offset, std::string_view text) {
  const auto part = slice(file, offset, text.size());
  return part && std::ranges::equal(*part, bytes_of(text));
}

// Linux's Image header of arm64 and RISC-V has its magic here (Documentation/arch/arm64/booting.rst).
constexpr u64 kImageMagic = 56;

// What a file that begins with "MZ" is: a PE program (EFI), perhaps a kernel of another architecture.
tl::unexpected<Error> refuse_pe(std::span<const u8> file) {
  constexpr u64 kPeOffset = 0x3c;
  constexpr u16 kAmd64 = 0x8664, kI386 = 0x14c, kArm64 = 0xaa64, kRiscV64 = 0x5064, kLoongArch64 = 0x6264;
  const u64 header = read_at<u32>(file, kPeOffset).value_or(0);
  const auto machine = has_text_at(file, header, std::string_view("PE\0\0", 4))
                           ? read_at<u16>(file, header + 4)
                           : std::nullopt;
  const auto other = [](std::string_view name) {
    return fail(ErrorCode::kUnsupported, "is for {}, but the machine is x86-64: give it an x86 kernel", name);
  };
  if (machine == kArm64) return other("AArch64 (arm64)");
  if (machine == kRiscV64) return other("RISC-V");
  if (machine == kLoongArch64) return other("LoongArch");
  if (machine == kAmd64 || machine == kI386)
    return fail(ErrorCode::kUnsupported,
                "is an EFI program without a Linux setup header, and needs EFI firmware: {}", kAdvice);
  return fail(ErrorCode::kUnsupported, "is a DOS or Windows program, not a kernel: {}", kAdvice);
}

tl::unexpected<Error> refuse(std::span<const u8> file) {
  if (has_text_at(file, kImageMagic, "ARM\x64"))
    return fail(ErrorCode::kUnsupported,
                "is a Linux Image for AArch64 (arm64), but the machine is x86-64: {}", kAdvice);
  if (has_text_at(file, kImageMagic, "RSC\x05"))
    return fail(ErrorCode::kUnsupported, "is a Linux Image for RISC-V, but the machine is x86-64: {}",
                kAdvice);
  if (has_text_at(file, 0, "MZ")) return refuse_pe(file);
  if (const Compression c = detect_compression(file); c != Compression::kUnknown)
    return fail(ErrorCode::kUnsupported,
                "is {0}-compressed, not a kernel: unpack it with {0} -d and give it the result",
                compression_name(c));
  if (is_multiboot2(file))
    return fail(ErrorCode::kUnsupported, "is a Multiboot 2 kernel without a Multiboot 1 header: {}", kAdvice);
  if (has_text_at(file, 0, "070701") || has_text_at(file, 0, "070702"))
    return fail(ErrorCode::kBadInput, "is a cpio archive, so rather an initrd: give it to --initrd");
  if (has_text_at(file, 0, "!<arch>"))
    return fail(ErrorCode::kBadInput, "is an archive (.a or .deb): unpack it first");
  if (has_text_at(file, 0x8001, "CD001"))
    return fail(ErrorCode::kBadInput, "is a CD image, not a kernel: {}", kAdvice);
  if (has_text_at(file, 0, "QFI\xfb"))
    return fail(ErrorCode::kBadInput, "is a qcow2 disk image, not a kernel: {}", kAdvice);
  if (file.size() < 1024)
    return fail(ErrorCode::kBadInput, "is too short for a kernel ({} bytes): {}", file.size(), kAdvice);
  return fail(ErrorCode::kBadInput, "is not a kernel that Vellum recognises: {}", kAdvice);
}

}  // namespace

std::string_view KernelImage::format_name() const {
  if (std::holds_alternative<BzImage>(format)) return "bzImage";
  if (const auto* elf = std::get_if<ElfImage>(&format)) return elf->is_64 ? "ELF64" : "ELF32";
  return "multiboot";
}

Result<KernelImage> recognise_kernel(std::span<const u8> file) {
  KernelImage image;
  image.file = file;
  image.multiboot = find_multiboot(file);
  if (is_linux_image(file)) {
    VELLUM_TRY_ASSIGN(linux_image, parse_bzimage(file));
    image.format = linux_image;
    image.multiboot.reset();  // a multiboot header by accident, in compressed data
  } else if (is_elf(file)) {
    VELLUM_TRY_ASSIGN(elf, parse_elf(file));
    image.format = elf;
  } else if (image.multiboot && (image.multiboot->flags & kMultibootAddresses) != 0) {
    image.format = FlatKernel{};
  } else {
    return refuse(file);
  }
  return image;
}

}  // namespace vellum
