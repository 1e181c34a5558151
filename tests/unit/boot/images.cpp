#include "images.hpp"

#include <elf.h>
#include <gtest/gtest.h>
#include <zlib.h>

namespace vellum::test {
namespace {

constexpr u32 kXenPhys32Entry = 18;

Bytes pvh_note(u32 entry) {
  // First a note of another owner, then the right one: the search has to step over it.
  Bytes note;
  put<u32>(note, 0, 4), put<u32>(note, 4, 6), put<u32>(note, 8, kXenPhys32Entry);
  put_bytes(note, 12, text_bytes(std::string("GNU\0", 4)));
  put<u64>(note, 16, 0x1111);
  const u64 second = note.size();
  put<u32>(note, second, 4), put<u32>(note, second + 4, 4), put<u32>(note, second + 8, kXenPhys32Entry);
  put_bytes(note, second + 12, text_bytes(std::string("Xen\0", 4)));
  put<u32>(note, second + 16, entry);
  return note;
}

template <class Header, class Program>
Bytes make_elf_of(const ElfSpec& spec) {
  constexpr u64 kCode = 0x1000, kData = 0x3000, kNote = 0x4000;
  const Bytes note = pvh_note(spec.pvh_entry);
  const auto program = [](u32 type, u64 offset, u64 virtual_address, u64 physical, u64 file_size,
                          u64 memory_size) {
    Program p{};
    p.p_type = type;
    p.p_offset = static_cast<decltype(p.p_offset)>(offset);
    p.p_vaddr = static_cast<decltype(p.p_vaddr)>(virtual_address);
    p.p_paddr = static_cast<decltype(p.p_paddr)>(physical);
    p.p_filesz = static_cast<decltype(p.p_filesz)>(file_size);
    p.p_memsz = static_cast<decltype(p.p_memsz)>(memory_size);
    p.p_align = 4;
    return p;
  };
  Header h{};
  std::memcpy(h.e_ident, ELFMAG, SELFMAG);
  h.e_ident[EI_CLASS] = std::is_same_v<Header, Elf64_Ehdr> ? ELFCLASS64 : ELFCLASS32;
  h.e_ident[EI_DATA] = ELFDATA2LSB;
  h.e_type = ET_EXEC;
  h.e_machine = spec.machine;
  h.e_entry = static_cast<decltype(h.e_entry)>(spec.entry);
  h.e_phoff = sizeof(Header);
  h.e_phentsize = sizeof(Program);
  h.e_phnum = spec.pvh ? 3 : 2;
  const u64 code = spec.physical, data = spec.physical + kElfDataOffset;
  Bytes file;
  put(file, 0, h);
  put(file, sizeof(Header),
      program(PT_LOAD, kCode, code + spec.virtual_offset, code, spec.code.size(), spec.code.size()));
  put(file, sizeof(Header) + sizeof(Program),
      program(PT_LOAD, kData, data + spec.virtual_offset, data, spec.data.size(),
              spec.data.size() + spec.bss));
  put(file, sizeof(Header) + 2 * sizeof(Program), program(PT_NOTE, kNote, 0, 0, note.size(), note.size()));
  put_bytes(file, kCode, spec.code);
  put_bytes(file, kData, spec.data);
  put_bytes(file, kNote, note);
  return file;
}

}  // namespace

Bytes sample(std::size_t size) {
  Bytes bytes(size);
  u32 state = 12345;
  for (std::size_t i = 0; i < size; ++i) {
    state = state * 1664525 + 1013904223;
    bytes[i] = (i & 64) != 0 ? static_cast<u8>(state >> 28) : static_cast<u8>(i >> 8);
  }
  return bytes;
}

Bytes gzip(const Bytes& plain) {
  z_stream stream{};
  deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  Bytes packed(deflateBound(&stream, plain.size()) + 32);
  stream.next_in = const_cast<u8*>(plain.data());
  stream.avail_in = static_cast<unsigned>(plain.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<unsigned>(packed.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(packed.size() - stream.avail_out);
  deflateEnd(&stream);
  return packed;
}

std::unique_ptr<GuestRam> make_ram(u64 mib) {
  auto ram = GuestRam::create(mib << 20);
  EXPECT_TRUE(ram.has_value());
  return std::move(*ram);
}

std::string read_guest_text(const GuestRam& ram, u64 address) {
  std::string text;
  for (u8 c = read_guest<u8>(ram, address); c != 0; c = read_guest<u8>(ram, ++address))
    text += static_cast<char>(c);
  return text;
}
Bytes read_guest_bytes(const GuestRam& ram, u64 address, u64 size) {
  const auto bytes = ram.bytes(GuestPhys(address), size);
  return Bytes(bytes.begin(), bytes.end());
}

Bytes make_elf(const ElfSpec& spec) {
  return spec.is_64 ? make_elf_of<Elf64_Ehdr, Elf64_Phdr>(spec) : make_elf_of<Elf32_Ehdr, Elf32_Phdr>(spec);
}

Bytes make_bzimage(BzSpec spec) {
  // gzip's own trailer is the unpacked size already, as Linux's build relies on.
  if (spec.payload.empty()) spec.payload = gzip(make_elf());
  constexpr u64 kHeader = 0x1f1;
  setup_header h{};
  h.setup_sects = spec.setup_sects;
  h.boot_flag = 0xaa55;
  h.jump = 0x6aeb;
  h.header = 0x53726448;
  h.version = spec.version;
  h.loadflags = spec.loadflags;
  h.code32_start = 0x100000;
  h.initrd_addr_max = spec.initrd_addr_max;
  h.kernel_alignment = 0x200000;
  h.relocatable_kernel = 1;
  h.min_alignment = 21;
  h.xloadflags = spec.xloadflags;
  h.cmdline_size = spec.cmdline_size;
  h.payload_offset = kBzPayloadOffset;
  h.payload_length = static_cast<u32>(spec.payload.size());
  h.setup_data = spec.setup_data;
  h.pref_address = spec.pref_address;
  h.init_size = spec.init_size;
  const u64 setup_size = (u64{spec.setup_sects == 0 ? u8{4} : spec.setup_sects} + 1) * 512;
  Bytes kernel = sample(kBzPayloadOffset);
  kernel = kernel + spec.payload;
  kernel.resize((kernel.size() + 15) / 16 * 16);
  h.syssize = static_cast<u32>(kernel.size() / 16);
  Bytes file(setup_size, 0xcc);
  put(file, kHeader, h);
  return file + kernel;
}

void put_multiboot_header(Bytes& file, u64 offset, u32 flags) {
  constexpr u32 kMagic = 0x1badb002;
  put<u32>(file, offset, kMagic);
  put<u32>(file, offset + 4, flags);
  put<u32>(file, offset + 8, 0 - kMagic - flags);
}

Bytes make_flat(const FlatSpec& spec) {
  Bytes file = sample(spec.file_size);
  put_multiboot_header(file, spec.header_at, spec.flags);
  put<u32>(file, spec.header_at + 12, spec.load + static_cast<u32>(spec.header_at));
  put<u32>(file, spec.header_at + 16, spec.load);
  put<u32>(file, spec.header_at + 20, spec.load_end);
  put<u32>(file, spec.header_at + 24, spec.bss_end);
  put<u32>(file, spec.header_at + 28, spec.entry);
  return file;
}

}  // namespace vellum::test
