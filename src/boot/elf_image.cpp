#include "boot/elf_image.hpp"

#include <elf.h>

#include <algorithm>
#include <limits>
#include <string_view>

#include "base/bits.hpp"
#include "boot/byte_view.hpp"

namespace vellum {
namespace {

// Kernels have a handful; a file with more is not one, and the placement's work grows with the square.
constexpr unsigned kMaxSegments = 128;
constexpr u32 kXenPhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY (Xen public/elfnote.h)

struct Format32 {
  using Header = Elf32_Ehdr;
  using Program = Elf32_Phdr;
};
struct Format64 {
  using Header = Elf64_Ehdr;
  using Program = Elf64_Phdr;
};

std::string machine_name(u16 machine) {
  switch (machine) {
    case EM_AARCH64:
      return "AArch64 (arm64)";
    case EM_ARM:
      return "32-bit ARM";
    case EM_RISCV:
      return "RISC-V";
    case EM_PPC:
      return "PowerPC";
    case EM_PPC64:
      return "64-bit PowerPC";
    case EM_S390:
      return "s390";
    case EM_MIPS:
      return "MIPS";
    case EM_IA_64:
      return "Itanium (ia64)";
    case EM_SPARCV9:
      return "64-bit SPARC";
    case 258:
      return "LoongArch";  // EM_LOONGARCH, newer than some elf.h
    default:
      return fmt::format("ELF machine {}", machine);
  }
}

// Looks for PHYS32_ENTRY among the notes of one PT_NOTE segment.
std::optional<u64> find_pvh_note(std::span<const u8> notes, u64 alignment) {
  struct Note {
    u32 name_size, description_size, type;
  };
  u64 position = 0;
  while (const auto note = read_at<Note>(notes, position)) {
    const u64 name_at = position + sizeof(Note);
    const u64 description_at = align_up(name_at + note->name_size, alignment);
    const auto name = slice(notes, name_at, note->name_size);
    const auto description = slice(notes, description_at, note->description_size);
    if (!name || !description) return std::nullopt;
    if (note->type == kXenPhys32Entry && std::ranges::equal(*name, bytes_of(std::string_view("Xen\0", 4)))) {
      if (description->size() == 8) return read_at<u64>(*description, 0);
      if (const auto entry = read_at<u32>(*description, 0)) return *entry;
    }
    position = align_up(description_at + note->description_size, alignment);
  }
  return std::nullopt;
}

Result<> add_segment(ElfImage& image, std::span<const u8> bytes, const auto& program) {
  if (program.p_memsz == 0) return {};
  if (program.p_filesz > program.p_memsz)
    return fail(ErrorCode::kBadInput, "is damaged: an ELF segment has more bytes in the file than in memory");
  const auto contents = slice(bytes, program.p_offset, program.p_filesz);
  if (!contents)
    return fail(ErrorCode::kBadInput,
                "is truncated: an ELF segment has {} bytes at offset {} of a file of {}",
                u64{program.p_filesz}, u64{program.p_offset}, bytes.size());
  if (program.p_memsz > std::numeric_limits<u64>::max() - program.p_paddr)
    return fail(ErrorCode::kBadInput, "is damaged: an ELF segment wraps around the address space");
  if (image.segments.size() == kMaxSegments)
    return fail(ErrorCode::kBadInput, "has more than {} ELF segments: no kernel has", kMaxSegments);
  image.segments.push_back({*contents, program.p_vaddr, GuestPhys(program.p_paddr), program.p_memsz});
  image.end = std::max<u64>(image.end, u64{program.p_paddr} + program.p_memsz);
  return {};
}

template <class Format>
Result<ElfImage> parse(std::span<const u8> bytes) {
  const auto header = read_at<typename Format::Header>(bytes, 0);
  if (!header) return fail(ErrorCode::kBadInput, "is truncated within its ELF header");
  if (header->e_machine != EM_X86_64 && header->e_machine != EM_386)
    return fail(ErrorCode::kUnsupported, "is for {}, but the machine is x86-64: give it an x86 kernel",
                machine_name(header->e_machine));
  if (header->e_type == ET_REL || header->e_type == ET_CORE)
    return fail(ErrorCode::kUnsupported, "is an ELF {}, not a kernel: give it vmlinuz or vmlinux",
                header->e_type == ET_REL ? "object file or module" : "core dump");
  if (header->e_phnum == 0 || header->e_phentsize != sizeof(typename Format::Program))
    return fail(ErrorCode::kBadInput,
                "is not a kernel: its ELF header names no program headers of the right size");

  ElfImage image;
  image.is_64 = std::is_same_v<Format, Format64>;
  image.entry = header->e_entry;
  for (u64 i = 0; i < header->e_phnum; ++i) {
    // e_phoff is untrusted: an offset that wraps is refused before it is used.
    if (header->e_phoff > bytes.size())
      return fail(ErrorCode::kBadInput, "is truncated before its ELF program headers");
    const auto program =
        read_at<typename Format::Program>(bytes, header->e_phoff + i * sizeof(typename Format::Program));
    if (!program) return fail(ErrorCode::kBadInput, "is truncated within its ELF program headers");
    if (program->p_type == PT_INTERP)
      return fail(ErrorCode::kUnsupported,
                  "is a program for an operating system, not a kernel: give it vmlinuz or vmlinux");
    if (program->p_type == PT_LOAD) VELLUM_TRY(add_segment(image, bytes, *program));
    if (program->p_type == PT_NOTE && !image.pvh_entry) {
      const auto notes = slice(bytes, program->p_offset, program->p_filesz);
      if (!notes) return fail(ErrorCode::kBadInput, "is truncated within its ELF notes");
      image.pvh_entry = find_pvh_note(*notes, program->p_align == 8 ? 8 : 4);
    }
  }
  if (image.segments.empty())
    return fail(ErrorCode::kBadInput, "is not a kernel: no ELF segment is to be loaded");
  return image;
}

}  // namespace

std::optional<u64> ElfImage::physical_entry() const {
  for (const ElfSegment& segment : segments) {
    if (entry - segment.virtual_address < segment.memory_size)
      return segment.physical_address.value + (entry - segment.virtual_address);
  }
  for (const ElfSegment& segment : segments) {
    if (entry - segment.physical_address.value < segment.memory_size) return entry;
  }
  return std::nullopt;
}

bool is_elf(std::span<const u8> bytes) {
  return starts_with(bytes, {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3});
}

Result<ElfImage> parse_elf(std::span<const u8> bytes) {
  const auto identity = slice(bytes, 0, EI_NIDENT);
  if (!identity) return fail(ErrorCode::kBadInput, "is truncated within its ELF header");
  if ((*identity)[EI_DATA] == ELFDATANONE || (*identity)[EI_DATA] > ELFDATA2MSB)
    return fail(ErrorCode::kBadInput, "is damaged: its ELF header names no byte order");
  if ((*identity)[EI_DATA] != ELFDATA2LSB)
    return fail(ErrorCode::kUnsupported,
                "is a big-endian ELF file, but the machine is x86-64: give it an x86 kernel");
  switch ((*identity)[EI_CLASS]) {
    case ELFCLASS32:
      return parse<Format32>(bytes);
    case ELFCLASS64:
      return parse<Format64>(bytes);
    default:
      return fail(ErrorCode::kBadInput, "is damaged: its ELF header has an unknown class");
  }
}

}  // namespace vellum
