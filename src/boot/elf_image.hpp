// ELF kernels, 32 and 64 bits (System V gABI ch. 4-5), from untrusted bytes.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/address.hpp"
#include "base/result.hpp"

namespace vellum {

struct ElfSegment {
  std::span<const u8> contents;  ///< from the file; the rest up to `memory_size` is zero
  u64 virtual_address = 0;
  GuestPhys physical_address;
  u64 memory_size = 0;  ///< > 0; physical_address + memory_size does not wrap
};

struct ElfImage {
  bool is_64 = false;
  u64 entry = 0;                     ///< e_entry as it stands in the file
  std::vector<ElfSegment> segments;  ///< PT_LOAD, in file order
  std::optional<u64> pvh_entry;      ///< Xen's PHYS32_ENTRY note: a 32-bit guest-physical address
  u64 end = 0;                       ///< past the highest guest-physical byte

  /// The entry as a guest-physical address: e_entry may be virtual (then a segment's virtual range has it) or
  /// physical already. Nothing if no segment has it.
  std::optional<u64> physical_entry() const;
};

bool is_elf(std::span<const u8> bytes);

/// Fails with kBadInput (truncated, damaged) or kUnsupported (another architecture, which the message names;
/// not a program). Segments refer to `bytes`.
Result<ElfImage> parse_elf(std::span<const u8> bytes);

}  // namespace vellum
