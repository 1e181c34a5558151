#include "machine/bios_rom.hpp"

#include <unistd.h>

#include <algorithm>

#include "base/fd.hpp"

namespace vellum {

BiosRom::BiosRom(GuestRam& ram, pci::I440Fx& host, std::span<const u8> image)
    : ram_(ram), host_(host), size_(image.size()), block_(ram.add_block(image.size())) {
  std::ranges::copy(image, ram_.block_bytes(block_).begin());
  ram_.map_block(block_, GuestPhys(GuestRam::kHighRamStart - size_), Pmap::Access::kRead);
  ram_.map_shadow({GuestPhys(Pmap::kShadowStart), 0x20000}, {}, {});
  host_.on_segments_changed([this] { apply(); });
  apply();
}

void BiosRom::apply() {
  using Behind = GuestRam::Behind;
  // The registers are read under the lock: who comes later sees them later.
  const std::scoped_lock lock(mutex_);
  const u64 low_size = std::min(size_, kLowEnd - kLowStart);
  for (const auto& segment : host_.segments()) {
    const u64 to_end = kLowEnd - segment.start.value;
    const Behind rom = to_end <= low_size ? Behind{Behind::Kind::kBlock, block_, size_ - to_end} : Behind{};
    const Behind ram{Behind::Kind::kRam};
    ram_.map_shadow({segment.start, segment.size}, segment.read_ram ? ram : rom,
                    segment.write_ram ? ram : Behind{});
  }
}

Result<std::vector<u8>> read_bios(FirmwareKind kind, const std::string& given) {
  const bool uefi = kind == FirmwareKind::kUefi;
  const std::string path = !given.empty() ? given : uefi ? kDefaultUefi : kDefaultBios;
  if (given.empty() && ::access(path.c_str(), F_OK) != 0)
    return fail(ErrorCode::kNotFound,
                "no firmware to start the disk with: there is no '{}'; install Debian's package {}, or "
                "give another {} with --bios FILE",
                path, uefi ? "ovmf" : "seabios", uefi ? "UEFI" : "BIOS");
  auto file = FileContents::map(path);
  if (!file) return tl::unexpected(std::move(file).error().context("--bios"));
  const auto bytes = file->bytes();
  if (bytes.size() % BiosRom::kUnit != 0 || bytes.size() > BiosRom::kMaxSize)
    return fail(ErrorCode::kBadInput,
                "--bios '{}' has {} bytes; firmware for a PC is a multiple of 4 KiB, up to 16 MiB, as "
                "SeaBIOS's bios-256k.bin",
                path, bytes.size());
  return std::vector<u8>(bytes.begin(), bytes.end());
}

Result<std::vector<u8>> read_vga_bios() {
  auto file = FileContents::map(kVgaBios);
  if (!file)
    return tl::unexpected(std::move(file).error().context(
        "--vga std: install Debian's package seabios, or do without a display (--vga none)"));
  const auto bytes = file->bytes();
  if (bytes.size() > BiosRom::kMaxSize)
    return fail(ErrorCode::kBadInput, "--vga std: '{}' has {} bytes, too many for a ROM", kVgaBios,
                bytes.size());
  return std::vector<u8>(bytes.begin(), bytes.end());
}

}  // namespace vellum
