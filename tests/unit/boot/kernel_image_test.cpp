// Recognising kernels, and refusing everything else with a message that helps.
#include "boot/kernel_image.hpp"

#include <elf.h>
#include <gtest/gtest.h>

#include "images.hpp"

namespace vellum {
namespace {

using test::Bytes;
using test::ElfSpec;
using test::put;
using test::put_bytes;
using test::text_bytes;

TEST(ElfImage, SegmentsEntryAndNote) {
  const Bytes file = test::make_elf();
  const auto image = parse_elf(file);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_TRUE(image->is_64);
  ASSERT_EQ(image->segments.size(), 2u);
  EXPECT_EQ(image->segments[0].physical_address, GuestPhys(0x1000000));
  EXPECT_EQ(image->segments[0].contents.size(), 5000u);
  EXPECT_EQ(image->segments[1].memory_size, 300u + 0x3000);
  EXPECT_EQ(image->end, 0x1000000u + test::kElfDataOffset + 300 + 0x3000);
  EXPECT_EQ(image->pvh_entry, 0x1000040u);
}

TEST(ElfImage, EntryMayBePhysicalOrVirtual) {
  const Bytes physical = test::make_elf({.entry = 0x1000010});
  EXPECT_EQ(parse_elf(physical)->physical_entry(), 0x1000010u);
  const Bytes with_virtual = test::make_elf({.entry = 0xffffffff81000020});
  EXPECT_EQ(parse_elf(with_virtual)->physical_entry(), 0x1000020u);
  const Bytes outside = test::make_elf({.entry = 0x10});
  EXPECT_EQ(parse_elf(outside)->physical_entry(), std::nullopt);
}

TEST(ElfImage, Class32) {
  const Bytes file = test::make_elf(
      {.is_64 = false, .machine = EM_386, .virtual_offset = 0xc0000000 - 0x1000000, .entry = 0x1000000});
  const auto image = parse_elf(file);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_FALSE(image->is_64);
  EXPECT_EQ(image->pvh_entry, 0x1000040u);
}

TEST(ElfImage, WithoutNote) {
  EXPECT_EQ(parse_elf(test::make_elf({.pvh = false}))->pvh_entry, std::nullopt);
}

TEST(BzImage, HeaderAndPayload) {
  const Bytes payload = test::gzip(test::make_elf());
  const Bytes file = test::make_bzimage({.payload = payload});
  const auto image = parse_bzimage(file);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_TRUE(image->has_64bit_entry());
  EXPECT_TRUE(std::ranges::equal(image->payload, payload));
  EXPECT_EQ(image->unpacked_size(), test::make_elf().size());
  EXPECT_EQ(image->kernel.data(), file.data() + 5 * 512);
  EXPECT_EQ(image->load_address, GuestPhys(0x1000000));
  EXPECT_EQ(image->init_size, 0x200000u);
  EXPECT_EQ(image->command_line_limit, 2047u);
  EXPECT_EQ(image->initrd_limit, GuestPhys(u64{1} << 32));
}

TEST(BzImage, SetupSectsOfZeroMeansFour) {
  const Bytes file = test::make_bzimage({.setup_sects = 0});
  EXPECT_EQ(parse_bzimage(file)->kernel.data(), file.data() + 5 * 512);
}

TEST(BzImage, OldProtocolsHaveDefaults) {
  // Protocol 2.03: the fields behind initrd_addr_max are code.
  const Bytes file = test::make_bzimage({.version = 0x0203, .initrd_addr_max = 0x37ffffff});
  const auto image = parse_bzimage(file);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->command_line_limit, 255u);
  EXPECT_EQ(image->initrd_limit, GuestPhys(0x38000000));
  EXPECT_EQ(image->load_address, GuestPhys(0x100000));
  EXPECT_FALSE(image->has_64bit_entry());
  EXPECT_TRUE(image->payload.empty());
  EXPECT_EQ(image->header.setup_data, 0u);
}

TEST(BzImage, InitrdLimitCountsWithoutTheAbove4GFlag) {
  const Bytes file = test::make_bzimage({.xloadflags = XLF_KERNEL_64});
  EXPECT_EQ(parse_bzimage(file)->initrd_limit, GuestPhys(0x80000000));
}

TEST(RecogniseKernel, EveryKind) {
  const Bytes bzimage = test::make_bzimage(), elf = test::make_elf(), flat = test::make_flat();
  EXPECT_EQ(recognise_kernel(bzimage)->format_name(), "bzImage");
  EXPECT_EQ(recognise_kernel(elf)->format_name(), "ELF64");
  EXPECT_EQ(recognise_kernel(flat)->format_name(), "multiboot");
}

TEST(RecogniseKernel, MultibootElf) {
  Bytes file = test::make_elf();
  test::put_multiboot_header(file, 0x1000, 3);
  const auto image = recognise_kernel(file);
  ASSERT_TRUE(image) << image.error().message;
  ASSERT_TRUE(image->multiboot.has_value());
  EXPECT_EQ(image->multiboot->file_offset, 0x1000u);
}

TEST(RecogniseKernel, MultibootHeaderMustBeWithin8KiBWithARightChecksum) {
  Bytes late(16384);
  test::put_multiboot_header(late, 8192, 3);
  EXPECT_EQ(find_multiboot(late), std::nullopt);
  Bytes wrong(8192);
  test::put_multiboot_header(wrong, 64, 3);
  wrong[64 + 8] ^= 1;
  EXPECT_EQ(find_multiboot(wrong), std::nullopt);
  Bytes unaligned(8192);
  test::put_multiboot_header(unaligned, 66, 3);
  EXPECT_EQ(find_multiboot(unaligned), std::nullopt);
}

struct Refusal {
  std::string name;
  Bytes file;
  ErrorCode code;
  std::string says;
};
std::ostream& operator<<(std::ostream& out, const Refusal& r) {
  return out << r.name;
}

class Refuses : public testing::TestWithParam<Refusal> {};

TEST_P(Refuses, AndSaysWhy) {
  const auto image = recognise_kernel(GetParam().file);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, GetParam().code) << image.error().message;
  EXPECT_NE(image.error().message.find(GetParam().says), std::string::npos) << image.error().message;
  EXPECT_EQ(image.error().message.find('\n'), std::string::npos);
}

Bytes first(Bytes file, std::size_t size) {
  file.resize(size);
  return file;
}
Bytes pe(u16 machine) {
  Bytes file(4096);
  put_bytes(file, 0, text_bytes("MZ"));
  put<u32>(file, 0x3c, 0x80);
  put_bytes(file, 0x80, text_bytes(std::string("PE\0\0", 4)));
  put<u16>(file, 0x84, machine);
  return file;
}
Bytes with_text(u64 offset, std::string_view text) {
  Bytes file(65536);
  put_bytes(file, offset, text_bytes(text));
  return file;
}
template <class T>
Bytes elf_with(u64 offset, T value) {
  Bytes file = test::make_elf();
  put(file, offset, value);
  return file;
}
template <class T>
Bytes bzimage_with(u64 offset, T value) {
  Bytes file = test::make_bzimage();
  put(file, offset, value);
  return file;
}
Bytes multiboot2() {
  Bytes file(4096);
  put<u32>(file, 64, 0xe85250d6), put<u32>(file, 68, 0), put<u32>(file, 72, 24);
  put<u32>(file, 76, 0 - 0xe85250d6u - 24);
  return file;
}

constexpr auto kBad = ErrorCode::kBadInput, kNot = ErrorCode::kUnsupported;
constexpr u64 kPhdr = sizeof(Elf64_Ehdr);

INSTANTIATE_TEST_SUITE_P(
    Files, Refuses,
    testing::Values(
        Refusal{"Noise", test::sample(65536), kBad, "not a kernel that Vellum recognises"},
        Refusal{"Tiny", Bytes{1}, kBad, "too short"},
        Refusal{"Text", text_bytes("#!/bin/sh\n"), kBad, "too short"},
        Refusal{"Gzip", test::gzip(test::sample(5000)), kNot, "gzip -d"},
        Refusal{"Arm64Image", with_text(56, "ARM\x64"), kNot, "AArch64"},
        Refusal{"RiscvImage", with_text(56, "RSC\x05"), kNot, "RISC-V"},
        Refusal{"Arm64Efi", pe(0xaa64), kNot, "AArch64"},
        Refusal{"EfiProgram", pe(0x8664), kNot, "EFI program"},
        Refusal{"DosProgram", with_text(0, "MZ"), kNot, "DOS or Windows"},
        Refusal{"Cpio", with_text(0, "070701"), kBad, "--initrd"},
        Refusal{"Deb", with_text(0, "!<arch>\n"), kBad, "archive"},
        Refusal{"Iso", with_text(0x8001, "CD001"), kBad, "CD image"},
        Refusal{"Qcow2", with_text(0, "QFI\xfb"), kBad, "qcow2"},
        Refusal{"Multiboot2", multiboot2(), kNot, "Multiboot 2"},
        Refusal{"ElfArm64", test::make_elf({.machine = EM_AARCH64}), kNot, "AArch64"},
        Refusal{"ElfRiscv", test::make_elf({.machine = EM_RISCV}), kNot, "RISC-V"},
        Refusal{"ElfBigEndian", elf_with<u8>(EI_DATA, ELFDATA2MSB), kNot, "big-endian"},
        Refusal{"ElfBadClass", elf_with<u8>(EI_CLASS, 7), kBad, "damaged"},
        Refusal{"ElfModule", elf_with<u16>(offsetof(Elf64_Ehdr, e_type), ET_REL), kNot, "module"},
        Refusal{"ElfNoSegments", elf_with<u16>(offsetof(Elf64_Ehdr, e_phnum), 0), kBad, "program headers"},
        Refusal{"ElfHeadersOutside", elf_with<u64>(offsetof(Elf64_Ehdr, e_phoff), ~u64{0} - 8), kBad,
                "truncated"},
        Refusal{"ElfHeaderCut", first(test::make_elf(), 40), kBad, "truncated"},
        Refusal{"ElfCut", first(test::make_elf(), 0x1800), kBad, "truncated"},
        Refusal{"ElfNotesCut", first(test::make_elf(), 0x4008), kBad, "truncated"},
        Refusal{"ElfOffsetWraps", elf_with<u64>(kPhdr + offsetof(Elf64_Phdr, p_offset), ~u64{0} - 100), kBad,
                "truncated"},
        Refusal{"ElfAddressWraps", elf_with<u64>(kPhdr + offsetof(Elf64_Phdr, p_paddr), ~u64{0} - 100), kBad,
                "wraps"},
        Refusal{"ElfMoreFileThanMemory", elf_with<u64>(kPhdr + offsetof(Elf64_Phdr, p_memsz), 10), kBad,
                "damaged"},
        Refusal{"BzHeaderCut", first(test::make_bzimage(), 0x210), kBad, "truncated"},
        Refusal{"BzCut", first(test::make_bzimage(), 4096), kBad, "truncated"},
        Refusal{"BzOld", test::make_bzimage({.version = 0x0201}), kNot, "2.01"},
        Refusal{"ZImage", test::make_bzimage({.loadflags = 0}), kNot, "zImage"},
        Refusal{"BzPayloadOutside", bzimage_with<u32>(0x248, 0xffffff00), kBad, "payload"},
        Refusal{"BzPayloadTooLong", bzimage_with<u32>(0x24c, 0xffffffff), kBad, "payload"}),
    [](const auto& tested) { return tested.param.name; });

TEST(MultibootFlat, FieldsSayWhatGoesWhere) {
  const Bytes file = test::make_flat();
  const auto flat = flat_image(*find_multiboot(file), file);
  ASSERT_TRUE(flat) << flat.error().message;
  EXPECT_EQ(flat->contents.data(), file.data());
  EXPECT_EQ(flat->contents.size(), 0x1000u);
  EXPECT_EQ(flat->address, GuestPhys(0x100000));
  EXPECT_EQ(flat->memory_size, 0x3000u);
}

TEST(MultibootFlat, ZeroesMeanTheWholeFileAndNoBss) {
  const Bytes file = test::make_flat({.load_end = 0, .bss_end = 0});
  const auto flat = flat_image(*find_multiboot(file), file);
  ASSERT_TRUE(flat) << flat.error().message;
  EXPECT_EQ(flat->contents.size(), file.size());
  EXPECT_EQ(flat->memory_size, file.size());
}

class BadFlat : public testing::TestWithParam<test::FlatSpec> {};
TEST_P(BadFlat, IsRefused) {
  const Bytes file = test::make_flat(GetParam());
  const auto flat = flat_image(*find_multiboot(file), file);
  ASSERT_FALSE(flat);
  EXPECT_EQ(flat.error().code, ErrorCode::kBadInput);
}
INSTANTIATE_TEST_SUITE_P(Fields, BadFlat,
                         testing::Values(test::FlatSpec{.load_end = 0x102000},  // past the file
                                         test::FlatSpec{.load_end = 0xfff00},   // before the start
                                         test::FlatSpec{.bss_end = 0x100800},   // before the data's end
                                         test::FlatSpec{.entry = 0x102000},     // in the bss
                                         test::FlatSpec{.entry = 0x10},         // below
                                         test::FlatSpec{.load = 0xfffffff0,
                                                        .entry = 0}));  // header_addr wraps

}  // namespace
}  // namespace vellum
