#include "boot/linux_boot.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace vellum {

setup_header vmlinux_header() {
  setup_header header{};
  header.boot_flag = 0xaa55;
  header.header = 0x53726448;  // "HdrS"
  header.version = 0x020f;
  header.loadflags = LOADED_HIGH;
  header.kernel_alignment = 0x200000;
  header.xloadflags = XLF_KERNEL_64;
  header.cmdline_size = 2047;
  return header;
}

boot_params build_zero_page(const LinuxParameters& parameters, const std::vector<MemoryMapEntry>& map) {
  VELLUM_ASSERT(map.size() <= E820_MAX_ENTRIES_ZEROPAGE, "{} entries", map.size());
  constexpr u8 kUndefinedLoader = 0xff;
  constexpr u16 kNormalVideoMode = 0xffff;
  boot_params page{};
  page.hdr = parameters.header;
  page.hdr.type_of_loader = kUndefinedLoader;
  page.hdr.vid_mode = kNormalVideoMode;
  // KASLR_FLAG is the decompressor's to set; the heap serves real-mode code, which doesn't run.
  page.hdr.loadflags &= static_cast<u8>(~(KASLR_FLAG | CAN_USE_HEAP));
  page.hdr.heap_end_ptr = 0;
  page.hdr.code32_start = static_cast<u32>(parameters.load_address.value);
  page.hdr.setup_data = 0;  // a file can't know guest-physical addresses
  page.hdr.cmd_line_ptr = static_cast<u32>(parameters.command_line.value);
  if (parameters.header.version < 0x0206) page.hdr.cmdline_size = 0;
  page.hdr.ramdisk_image = static_cast<u32>(parameters.initrd.start.value);
  page.hdr.ramdisk_size = static_cast<u32>(parameters.initrd.size);
  page.acpi_rsdp_addr = parameters.rsdp.value;

  for (const MemoryMapEntry& entry : map) {
    page.e820_table[page.e820_entries++] = {entry.range.start.value, entry.range.size,
                                            static_cast<u32>(entry.type)};
    if (entry.type == MemoryType::kUsable && entry.range.start == layout::kHighMemory) {
      // Kernels before E820 (2.2) read these: KiB above 1 MiB.
      page.alt_mem_k = static_cast<u32>(entry.range.size >> 10);
      page.screen_info.ext_mem_k = static_cast<u16>(std::min<u64>(entry.range.size >> 10, 0xffff));
    }
  }
  return page;
}

}  // namespace vellum
