// Multiboot 1 (Multiboot Specification 0.6.96): the header in a kernel's first 8 KiB, and the information
// structure handed to it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "boot/memory_map.hpp"
#include "boot/placement.hpp"

namespace vellum {

struct MultibootHeader {
  u64 file_offset = 0;
  u32 flags = 0;
  // Valid with kMultibootAddresses: where a kernel that is no ELF file goes.
  u32 header_address = 0, load_address = 0, load_end_address = 0, bss_end_address = 0, entry_address = 0;
};

inline constexpr u32 kMultibootPageAlign = 1, kMultibootMemoryInfo = 2, kMultibootVideo = 4,
                     kMultibootAddresses = 1u << 16;

/// The header, if the file has one with a right checksum.
std::optional<MultibootHeader> find_multiboot(std::span<const u8> bytes);
/// Whether the file has a Multiboot 2 header, which Vellum doesn't load.
bool is_multiboot2(std::span<const u8> bytes);

/// What the header's address fields ask for: which bytes of the file go where, with how many zeroes behind
/// them.
struct MultibootFlatImage {
  std::span<const u8> contents;
  GuestPhys address;
  u64 memory_size = 0;
  u64 entry = 0;
};
/// Fails with kBadInput when the fields contradict each other or the file is too short.
Result<MultibootFlatImage> flat_image(const MultibootHeader& header, std::span<const u8> bytes);

struct MultibootModule {
  GuestPhysRange range;
  std::string text;
};

inline constexpr u32 kMultibootBootMagic = 0x2badb002;

/// Places the information structure and what it points to; the result is EBX's value.
Result<GuestPhys> put_multiboot_info(Placement& placement, const std::vector<MemoryMapEntry>& map,
                                     const std::string& command_line,
                                     const std::vector<MultibootModule>& modules);

}  // namespace vellum
