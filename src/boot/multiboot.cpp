#include "boot/multiboot.hpp"

#include <algorithm>
#include <cstring>

#include "boot/byte_view.hpp"

namespace vellum {
namespace {

constexpr u32 kHeaderMagic = 0x1badb002, kHeader2Magic = 0xe85250d6;
constexpr u64 kSearchLimit = 8192, kSearch2Limit = 32768;

// §3.3, "Boot information format".
struct Info {
  u32 flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
  u32 syms[4];
  u32 mmap_length, mmap_addr, drives_length, drives_addr, config_table, boot_loader_name, apm_table;
};
static_assert(sizeof(Info) == 72);
constexpr u32 kHasMemory = 1, kHasCommandLine = 1 << 2, kHasModules = 1 << 3, kHasMemoryMap = 1 << 6,
              kHasLoaderName = 1 << 9;

struct Module {
  u32 start, end, string, reserved;
};
struct [[gnu::packed]] MapEntry {
  u32 size;  // of what follows
  u64 address, length;
  u32 type;
};

std::vector<u8> with_zero(const std::string& text) {
  std::vector<u8> bytes(text.begin(), text.end());
  bytes.push_back(0);
  return bytes;
}

Result<u32> put_text(Placement& placement, const std::string& text, std::string what) {
  VELLUM_TRY_ASSIGN(at, placement.put(with_zero(text), 1, std::move(what)));
  return static_cast<u32>(at.value);
}

template <class T>
Result<u32> put_array(Placement& placement, const std::vector<T>& array, std::string what) {
  std::vector<u8> bytes(array.size() * sizeof(T));
  if (!array.empty()) std::memcpy(bytes.data(), array.data(), bytes.size());
  VELLUM_TRY_ASSIGN(at, placement.put(bytes, 4, std::move(what)));
  return static_cast<u32>(at.value);
}

// KiB of memory below 640 KiB, and from 1 MiB to the first hole.
void describe_memory(Info& info, const std::vector<MemoryMapEntry>& map) {
  for (const MemoryMapEntry& entry : map) {
    if (entry.type != MemoryType::kUsable) continue;
    const u32 kib = static_cast<u32>(std::min<u64>(entry.range.size >> 10, ~u32{0}));
    if (entry.range.start == GuestPhys(0)) info.mem_lower = kib;
    if (entry.range.start == layout::kHighMemory) info.mem_upper = kib;
  }
  info.flags |= kHasMemory;
}

}  // namespace

std::optional<MultibootHeader> find_multiboot(std::span<const u8> bytes) {
  const u64 end = std::min<u64>(bytes.size(), kSearchLimit);
  for (u64 at = 0; at + 12 <= end; at += 4) {
    if (read_at<u32>(bytes, at) != kHeaderMagic) continue;
    const u32 flags = *read_at<u32>(bytes, at + 4);
    if (kHeaderMagic + flags + *read_at<u32>(bytes, at + 8) != 0) continue;
    MultibootHeader header;
    header.file_offset = at;
    header.flags = flags;
    if ((flags & kMultibootAddresses) != 0) {
      // A file that ends within these fields reads as zeroes, which flat_image() refuses.
      const auto field = [&](u64 n) { return read_at<u32>(bytes, at + 12 + 4 * n).value_or(0); };
      header.header_address = field(0);
      header.load_address = field(1);
      header.load_end_address = field(2);
      header.bss_end_address = field(3);
      header.entry_address = field(4);
    }
    return header;
  }
  return std::nullopt;
}

bool is_multiboot2(std::span<const u8> bytes) {
  const u64 end = std::min<u64>(bytes.size(), kSearch2Limit);
  for (u64 at = 0; at + 16 <= end; at += 8) {
    if (read_at<u32>(bytes, at) != kHeader2Magic) continue;
    u32 sum = 0;
    for (u64 i = 0; i < 4; ++i) sum += *read_at<u32>(bytes, at + 4 * i);
    if (sum == 0) return true;
  }
  return false;
}

Result<MultibootFlatImage> flat_image(const MultibootHeader& header, std::span<const u8> bytes) {
  const u32 before_header = header.header_address - header.load_address;
  if (header.load_address > header.header_address || before_header > header.file_offset)
    return fail(ErrorCode::kBadInput,
                "has a damaged multiboot header: load_addr {:#x} does not fit header_addr {:#x}",
                header.load_address, header.header_address);
  const u64 file_start = header.file_offset - before_header;
  u64 size = bytes.size() - file_start;
  if (header.load_end_address != 0) {
    if (header.load_end_address <= header.load_address)
      return fail(ErrorCode::kBadInput,
                  "has a damaged multiboot header: load_end_addr {:#x} is below load_addr {:#x}",
                  header.load_end_address, header.load_address);
    size = header.load_end_address - header.load_address;
  }
  const auto contents = slice(bytes, file_start, size);
  if (!contents)
    return fail(ErrorCode::kBadInput,
                "is truncated: its multiboot header announces {} bytes from offset {}, the file has {}", size,
                file_start, bytes.size());
  u64 memory_size = size;
  if (header.bss_end_address != 0) {
    if (u64{header.bss_end_address} < header.load_address + size)
      return fail(ErrorCode::kBadInput,
                  "has a damaged multiboot header: bss_end_addr {:#x} is before the end of data {:#x}",
                  header.bss_end_address, header.load_address + size);
    memory_size = header.bss_end_address - header.load_address;
  }
  if (header.entry_address - u64{header.load_address} >= size)
    return fail(ErrorCode::kBadInput,
                "has a damaged multiboot header: entry_addr {:#x} is outside what is loaded",
                header.entry_address);
  return MultibootFlatImage{*contents, GuestPhys(header.load_address), memory_size, header.entry_address};
}

Result<GuestPhys> put_multiboot_info(Placement& placement, const std::vector<MemoryMapEntry>& map,
                                     const std::string& command_line,
                                     const std::vector<MultibootModule>& modules) {
  Info info{};
  describe_memory(info, map);

  VELLUM_TRY_ASSIGN(text, put_text(placement, command_line, "command line"));
  info.cmdline = text;
  VELLUM_TRY_ASSIGN(loader, put_text(placement, "Vellum", "boot loader's name"));
  info.boot_loader_name = loader;

  std::vector<MapEntry> entries;
  for (const MemoryMapEntry& e : map)
    entries.push_back({sizeof(MapEntry) - 4, e.range.start.value, e.range.size, static_cast<u32>(e.type)});
  VELLUM_TRY_ASSIGN(mmap, put_array(placement, entries, "memory map"));
  info.mmap_addr = mmap;
  info.mmap_length = static_cast<u32>(entries.size() * sizeof(MapEntry));
  info.flags |= kHasCommandLine | kHasLoaderName | kHasMemoryMap;

  std::vector<Module> list;
  for (const MultibootModule& module : modules) {
    VELLUM_TRY_ASSIGN(string, put_text(placement, module.text, "module's name"));
    list.push_back(
        {static_cast<u32>(module.range.start.value), static_cast<u32>(module.range.end().value), string, 0});
  }
  if (!list.empty()) {
    VELLUM_TRY_ASSIGN(mods, put_array(placement, list, "module list"));
    info.mods_addr = mods;
    info.mods_count = static_cast<u32>(list.size());
  }
  info.flags |= kHasModules;  // also with none: mods_count is then 0
  return placement.put(bytes_of(info), 4, "multiboot information");
}

}  // namespace vellum
