// load(), protocol by protocol: what lies in guest memory and what the registers hold.
#include "boot/loader.hpp"

#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <sstream>

#include "../temp_dir.hpp"
#include "base/log.hpp"
#include "boot/multiboot.hpp"
#include "boot/pvh.hpp"
#include "images.hpp"

namespace vellum {
namespace {

using test::Bytes;
using test::read_guest;
using test::read_guest_bytes;
using test::read_guest_text;

class LoaderTest : public testing::Test {
 protected:
  BootPlan load_kernel(const Bytes& kernel, Protocol protocol = Protocol::kAuto) {
    request.kernel = files.write("kernel", kernel);
    request.protocol = protocol;
    auto plan = load(request, *ram);
    EXPECT_TRUE(plan) << plan.error().message;
    return plan.value_or(BootPlan{});
  }
  void add_initrd(const std::string& name, const Bytes& contents) {
    request.initrds.push_back(files.write(name, contents));
  }
  void expect_elf_in_memory(const test::ElfSpec& spec) {
    EXPECT_EQ(read_guest_bytes(*ram, spec.physical, spec.code.size()), spec.code);
    EXPECT_EQ(read_guest_bytes(*ram, spec.physical + test::kElfDataOffset, spec.data.size()), spec.data);
    EXPECT_EQ(read_guest_bytes(*ram, spec.physical + test::kElfDataOffset + spec.data.size(), spec.bss),
              Bytes(spec.bss));
  }
  void expect_gdt_at(const EntryState& entry) {
    EXPECT_EQ(read_guest<u64>(*ram, entry.gdtr.base + kBootDs), 0x00cf93000000ffffu);
    EXPECT_EQ(read_guest<u64>(*ram, entry.gdtr.base + kBootCs),
              entry.cr3 != 0 ? 0x00af9b000000ffffu : 0x00cf9b000000ffffu);
  }

  test::TempDir files;
  std::unique_ptr<GuestRam> ram = test::make_ram(64);
  BootRequest request{.command_line = "console=ttyS0 quiet"};
};

TEST_F(LoaderTest, BzImageIsUnpackedAndEnteredByPvh) {
  // Dirty memory must not show through the kernel's bss.
  std::ranges::fill(ram->bytes(GuestPhys(0x1000000), 0x100000), u8{0xee});
  add_initrd("initrd", test::sample(10001));
  const BootPlan plan = load_kernel(test::make_bzimage());

  EXPECT_EQ(plan.protocol, Protocol::kPvh);
  EXPECT_EQ(plan.description, "bzImage (gzip) through pvh");
  expect_elf_in_memory({});
  expect_gdt_at(plan.entry);
  EXPECT_EQ(plan.entry.rip, 0x1000040u);
  EXPECT_EQ(plan.entry.cr0 & x86::cr0::kPg, 0u);

  const auto info = read_guest<PvhStartInfo>(*ram, plan.entry.gpr[x86::kRbx]);
  EXPECT_EQ(info.magic, 0x336ec578u);
  EXPECT_EQ(info.version, 1u);
  EXPECT_EQ(read_guest_text(*ram, info.command_line), "console=ttyS0 quiet");
  EXPECT_EQ(info.rsdp, 0xe0000u);
  ASSERT_EQ(info.module_count, 1u);
  const auto module = read_guest<PvhModule>(*ram, info.module_list);
  EXPECT_EQ(read_guest_bytes(*ram, module.address, module.size), test::sample(10001));
  ASSERT_EQ(info.memory_map_entries, 6u);
  const auto last_ram = read_guest<PvhMemoryMapEntry>(*ram, info.memory_map + 3 * sizeof(PvhMemoryMapEntry));
  EXPECT_EQ(last_ram.address, 0x100000u);
  EXPECT_EQ(last_ram.size, (u64{63} << 20));
  EXPECT_EQ(last_ram.type, 1u);
}

TEST_F(LoaderTest, InitrdIsHighAndPageAligned) {
  add_initrd("initrd", test::sample(10001));
  const BootPlan plan = load_kernel(test::make_bzimage());
  ASSERT_EQ(plan.initrds.size(), 1u);
  EXPECT_EQ(plan.initrds[0].start, GuestPhys((u64{64} << 20) - 3 * kPageSize));
  EXPECT_EQ(plan.initrds[0].size, 10001u);
}

TEST_F(LoaderTest, SeveralInitrdsAreJoinedAtWordBoundaries) {
  add_initrd("first", test::sample(5));
  add_initrd("second", test::sample(7));
  const BootPlan plan = load_kernel(test::make_bzimage());
  ASSERT_EQ(plan.initrds.size(), 1u);
  EXPECT_EQ(plan.initrds[0].size, 15u);
  const u64 start = plan.initrds[0].start.value;
  EXPECT_EQ(read_guest_bytes(*ram, start, 5), test::sample(5));
  EXPECT_EQ(read_guest_bytes(*ram, start + 5, 3), Bytes(3));
  EXPECT_EQ(read_guest_bytes(*ram, start + 8, 7), test::sample(7));
}

TEST_F(LoaderTest, AnInitrdThatLinuxCannotUnpackIsNamedInAWarning) {
  std::ostringstream log;
  const auto logger = spdlog::default_logger();
  spdlog::set_default_logger(
      std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::ostream_sink_mt>(log)));
  add_initrd("a-cpio", {0, 0, 0, 0, '0', '7', '0', '7', '0', '1'});
  add_initrd("a-gzip", {0x1f, 0x8b, 8, 0});
  add_initrd("a-text", {'h', 'e', 'l', 'l', 'o'});
  load_kernel(test::make_bzimage());
  spdlog::set_default_logger(logger);

  EXPECT_NE(log.str().find(files.path("a-text") + "'"), std::string::npos) << log.str();
  EXPECT_EQ(log.str().find("a-cpio"), std::string::npos) << log.str();
  EXPECT_EQ(log.str().find("a-gzip"), std::string::npos) << log.str();
}

TEST_F(LoaderTest, VmlinuxIsEnteredByPvh) {
  const BootPlan plan = load_kernel(test::make_elf());
  EXPECT_EQ(plan.protocol, Protocol::kPvh);
  EXPECT_EQ(plan.entry.rip, 0x1000040u);
  expect_elf_in_memory({});
  EXPECT_EQ(read_guest<PvhStartInfo>(*ram, plan.entry.gpr[x86::kRbx]).module_count, 0u);
}

TEST_F(LoaderTest, Linux64) {
  add_initrd("initrd", test::sample(10001));
  const Bytes file = test::make_bzimage({.setup_data = 0xdeadbeef});
  const BootPlan plan = load_kernel(file, Protocol::kLinux64);

  EXPECT_EQ(plan.protocol, Protocol::kLinux64);
  EXPECT_EQ(plan.entry.rip, 0x1000200u);
  EXPECT_EQ(plan.entry.cr4, x86::cr4::kPae);
  expect_gdt_at(plan.entry);
  EXPECT_EQ(read_guest<u64>(*ram, plan.entry.cr3), plan.entry.cr3 + kPageSize + 3);
  const std::size_t setup = 5 * 512;
  EXPECT_EQ(read_guest_bytes(*ram, 0x1000000, file.size() - setup), Bytes(file.begin() + setup, file.end()));

  const auto page = read_guest<boot_params>(*ram, plan.entry.gpr[x86::kRsi]);
  EXPECT_EQ(page.hdr.header, 0x53726448u);
  EXPECT_EQ(page.hdr.type_of_loader, 0xff);
  EXPECT_EQ(page.hdr.setup_data, 0u);
  EXPECT_EQ(page.hdr.code32_start, 0x1000000u);
  EXPECT_EQ(page.hdr.init_size, 0x200000u);
  EXPECT_EQ(page.sentinel, 0);
  EXPECT_EQ(page.screen_info.orig_video_isVGA, 0);
  EXPECT_EQ(page.acpi_rsdp_addr, 0xe0000u);
  EXPECT_EQ(read_guest_text(*ram, page.hdr.cmd_line_ptr), "console=ttyS0 quiet");
  EXPECT_EQ(page.hdr.ramdisk_size, 10001u);
  EXPECT_EQ(read_guest_bytes(*ram, page.hdr.ramdisk_image, 10001), test::sample(10001));
  ASSERT_EQ(page.e820_entries, 6);
  EXPECT_EQ(page.e820_table[0].size, 0x9fc00u);
  EXPECT_EQ(page.e820_table[3].addr, 0x100000u);
  EXPECT_EQ(page.alt_mem_k, 63u << 10);
}

TEST_F(LoaderTest, Linux32) {
  const BootPlan plan = load_kernel(test::make_bzimage(), Protocol::kLinux32);
  EXPECT_EQ(plan.protocol, Protocol::kLinux32);
  EXPECT_EQ(plan.entry.rip, 0x1000000u);
  EXPECT_EQ(plan.entry.cr0 & x86::cr0::kPg, 0u);
  EXPECT_EQ(plan.entry.efer, 0u);
  expect_gdt_at(plan.entry);
  EXPECT_EQ(read_guest<boot_params>(*ram, plan.entry.gpr[x86::kRsi]).hdr.header, 0x53726448u);
}

TEST_F(LoaderTest, AutoFallsBackToTheKernelsOwnDecompressor) {
  const Bytes without_pvh = test::gzip(test::make_elf({.pvh = false}));
  EXPECT_EQ(load_kernel(test::make_bzimage({.payload = without_pvh})).protocol, Protocol::kLinux64);
  EXPECT_EQ(load_kernel(test::make_bzimage({.xloadflags = 0, .payload = without_pvh})).protocol,
            Protocol::kLinux32);
  const Bytes unknown_format = test::sample(3000);
  EXPECT_EQ(load_kernel(test::make_bzimage({.payload = unknown_format})).protocol, Protocol::kLinux64);
  EXPECT_EQ(load_kernel(test::make_bzimage({.version = 0x0206, .xloadflags = 0})).protocol,
            Protocol::kLinux32);
}

TEST_F(LoaderTest, VmlinuxWithoutPvhIsEnteredAtItsElfEntry) {
  const BootPlan plan64 = load_kernel(test::make_elf({.pvh = false}));
  EXPECT_EQ(plan64.protocol, Protocol::kLinux64);
  EXPECT_EQ(plan64.entry.rip, 0x1000010u);
  EXPECT_EQ(read_guest<boot_params>(*ram, plan64.entry.gpr[x86::kRsi]).hdr.boot_flag, 0xaa55);
  const BootPlan plan32 = load_kernel(test::make_elf(
      {.is_64 = false, .machine = 3, .virtual_offset = 0xbf000000, .entry = 0x1000010, .pvh = false}));
  EXPECT_EQ(plan32.protocol, Protocol::kLinux32);
  EXPECT_EQ(plan32.entry.rip, 0x1000010u);
}

struct MultibootInfo {
  u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4], mmap_length,
      mmap_addr;
  u32 drives[2], config, loader_name;
};

TEST_F(LoaderTest, MultibootFlatKernelWithModules) {
  std::ranges::fill(ram->bytes(GuestPhys(0x100000), 0x10000), u8{0xee});
  add_initrd("module-one", test::sample(5000));
  add_initrd("module-two", test::sample(100));
  const BootPlan plan = load_kernel(test::make_flat());

  EXPECT_EQ(plan.protocol, Protocol::kMultiboot);
  EXPECT_EQ(plan.entry.rip, 0x100040u);
  EXPECT_EQ(plan.entry.gpr[x86::kRax], 0x2badb002u);
  expect_gdt_at(plan.entry);
  EXPECT_EQ(read_guest_bytes(*ram, 0x100000, 0x1000), test::make_flat());
  EXPECT_EQ(read_guest_bytes(*ram, 0x101000, 0x2000), Bytes(0x2000));

  const auto info = read_guest<MultibootInfo>(*ram, plan.entry.gpr[x86::kRbx]);
  EXPECT_EQ(info.flags, 0x24du);  // memory, command line, modules, map, loader's name
  EXPECT_EQ(info.mem_lower, 639u);
  EXPECT_EQ(info.mem_upper, 63u << 10);
  EXPECT_EQ(read_guest_text(*ram, info.cmdline), "kernel console=ttyS0 quiet");
  EXPECT_EQ(read_guest_text(*ram, info.loader_name), "Vellum");
  ASSERT_EQ(info.mods_count, 2u);
  const u32 start = read_guest<u32>(*ram, info.mods_addr), end = read_guest<u32>(*ram, info.mods_addr + 4);
  EXPECT_EQ(start, 0x103000u);
  EXPECT_EQ(end - start, 5000u);
  EXPECT_EQ(read_guest_bytes(*ram, start, 5000), test::sample(5000));
  EXPECT_EQ(read_guest_text(*ram, read_guest<u32>(*ram, info.mods_addr + 8)), "module-one");
  EXPECT_EQ(read_guest<u32>(*ram, info.mods_addr + 16), 0x105000u);
  EXPECT_EQ(info.mmap_length, 6u * 24);
  EXPECT_EQ(read_guest<u32>(*ram, info.mmap_addr), 20u);
  EXPECT_EQ(read_guest<u64>(*ram, info.mmap_addr + 4 + 8), 0x9fc00u);
}

TEST_F(LoaderTest, MultibootElfKernelIsEnteredAtItsPhysicalEntry) {
  test::ElfSpec spec{.is_64 = false,
                     .machine = 3,
                     .physical = 0x100000,
                     .virtual_offset = 0xc0000000,
                     .entry = 0xc0100020,
                     .pvh = false};
  Bytes file = test::make_elf(spec);
  test::put_multiboot_header(file, 0x1000, 3);
  const BootPlan plan = load_kernel(file);
  EXPECT_EQ(plan.protocol, Protocol::kMultiboot);
  EXPECT_EQ(plan.entry.rip, 0x100020u);
  EXPECT_EQ(read_guest_bytes(*ram, 0x104000, spec.data.size()), spec.data);
}

TEST_F(LoaderTest, MultibootKernelInLowMemoryKeepsClearOfBootData) {
  const BootPlan plan =
      load_kernel(test::make_flat({.load = 0x1000, .load_end = 0x2000, .bss_end = 0, .entry = 0x1040}));
  EXPECT_EQ(read_guest_bytes(*ram, 0x1000, 0x1000),
            test::make_flat({.load = 0x1000, .load_end = 0x2000, .bss_end = 0, .entry = 0x1040}));
  EXPECT_GE(plan.entry.gdtr.base, 0x2000u);
  EXPECT_GE(plan.entry.gpr[x86::kRbx], 0x2000u);
}

TEST_F(LoaderTest, LoadsAgainAfterTheGuestRanAmok) {
  load_kernel(test::make_bzimage());
  std::ranges::fill(ram->bytes(GuestPhys(0), u64{64} << 20), u8{0xff});
  const BootPlan plan = load_kernel(test::make_bzimage());
  expect_elf_in_memory({});
  EXPECT_EQ(read_guest<PvhStartInfo>(*ram, plan.entry.gpr[x86::kRbx]).magic, PvhStartInfo::kMagic);
  EXPECT_EQ(read_guest<u64>(*ram, 0xe0000), 0x2052545020445352u);
}

TEST_F(LoaderTest, ProgressReachesItsEnd) {
  request.kernel = files.write("kernel", test::make_bzimage());
  std::vector<std::string> finished;
  const auto plan = load(request, *ram, [&](std::string_view what, u64 done, u64 total) {
    ASSERT_LE(done, total);
    if (done == total) finished.emplace_back(what);
  });
  ASSERT_TRUE(plan);
  EXPECT_EQ(finished, (std::vector<std::string>{"unpacking the kernel", "loading the kernel"}));
}

TEST_F(LoaderTest, AppliesToARegisterFile) {
  struct Vcpu {
    std::array<u64, 16> gpr{};
    u64 rip = 0xfff0, rflags = 0;
    std::array<x86::Segment, x86::kSegCount> seg{};
    x86::Segment ldtr, tr;
    x86::DescriptorTable gdtr, idtr;
    u64 cr0 = 0, cr3 = 0, cr4 = 0;
    struct {
      u64 efer = 0;
    } msr;
    u8 cpl = 3;
  } vcpu;
  const BootPlan plan = load_kernel(test::make_bzimage(), Protocol::kLinux64);
  plan.entry.apply_to(vcpu);
  EXPECT_EQ(vcpu.rip, plan.entry.rip);
  EXPECT_EQ(vcpu.msr.efer, x86::efer::kLme | x86::efer::kLma);
  EXPECT_EQ(vcpu.gpr[x86::kRsi], plan.entry.gpr[x86::kRsi]);
  EXPECT_EQ(vcpu.cpl, 0);
}

TEST(Protocol, NamesRoundTrip) {
  for (const char* name : {"auto", "pvh", "linux64", "linux32", "multiboot"})
    EXPECT_EQ(protocol_name(parse_protocol(name).value()), name);
  const auto unknown = parse_protocol("efi");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(unknown.error().message.find("linux64"), std::string::npos);
}

}  // namespace
}  // namespace vellum
