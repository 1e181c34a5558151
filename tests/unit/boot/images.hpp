// Synthesised kernels and the bytes around them, for the tests of this folder.
#pragma once

#include <asm/bootparam.h>

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "boot/byte_view.hpp"
#include "memory/guest_ram.hpp"

namespace vellum::test {

using Bytes = std::vector<u8>;

/// Writes `value` at `offset`, growing the bytes as needed.
template <class T>
void put(Bytes& bytes, u64 offset, const T& value) {
  if (bytes.size() < offset + sizeof(T)) bytes.resize(offset + sizeof(T));
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}
inline void put_bytes(Bytes& bytes, u64 offset, std::span<const u8> value) {
  if (bytes.size() < offset + value.size()) bytes.resize(offset + value.size());
  std::memcpy(bytes.data() + offset, value.data(), value.size());
}
inline Bytes text_bytes(std::string_view text) {
  return Bytes(text.begin(), text.end());
}
inline Bytes operator+(Bytes a, const Bytes& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

/// Bytes that compress, but not to nothing: the same for the same size.
Bytes sample(std::size_t size);
Bytes gzip(const Bytes& plain);

std::unique_ptr<GuestRam> make_ram(u64 mib);

template <class T>
T read_guest(const GuestRam& ram, u64 address) {
  T value{};
  const auto bytes = ram.bytes(GuestPhys(address), sizeof(T));
  if (bytes.size() == sizeof(T)) std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}
std::string read_guest_text(const GuestRam& ram, u64 address);
Bytes read_guest_bytes(const GuestRam& ram, u64 address, u64 size);

/// An ELF kernel of two segments: code, and data with a bss behind it.
struct ElfSpec {
  bool is_64 = true;
  u16 machine = 62;  // EM_X86_64
  u64 physical = 0x1000000;
  u64 virtual_offset = 0xffffffff80000000;  ///< virtual minus physical
  u64 entry = 0x1000010;                    ///< e_entry
  bool pvh = true;
  u32 pvh_entry = 0x1000040;
  Bytes code = sample(5000);
  Bytes data = sample(300);
  u64 bss = 0x3000;
};
constexpr u64 kElfDataOffset = 0x4000;  ///< of the data segment from `physical`
Bytes make_elf(const ElfSpec& spec = {});

/// A bzImage. By default of protocol 2.15, relocatable, with both entry points, and make_elf()'s kernel
/// inside.
struct BzSpec {
  u16 version = 0x020f;
  u8 loadflags = LOADED_HIGH;
  u16 xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  u32 cmdline_size = 2047;
  u32 initrd_addr_max = 0x7fffffff;
  u64 pref_address = 0x1000000;
  u32 init_size = 0x200000;
  u8 setup_sects = 4;
  Bytes payload{};  ///< empty: make_elf(), gzip
  u64 setup_data = 0;
};
Bytes make_bzimage(BzSpec spec = {});
constexpr u64 kBzPayloadOffset = 0x400;  ///< within the protected-mode part

/// A multiboot kernel with address fields.
struct FlatSpec {
  u32 flags = 1u << 16 | 3;
  u64 header_at = 0x20;  ///< in the file
  u32 load = 0x100000;
  u32 load_end = 0x101000;
  u32 bss_end = 0x103000;
  u32 entry = 0x100040;
  u64 file_size = 0x1000;
};
Bytes make_flat(const FlatSpec& spec = {});
/// Puts a multiboot header without address fields into a file.
void put_multiboot_header(Bytes& file, u64 offset, u32 flags);

}  // namespace vellum::test
