#include "boot/firmware_tables.hpp"

#include <algorithm>
#include <cstring>

#include "base/bits.hpp"
#include "boot/acpi_tables.hpp"
#include "boot/mp_table.hpp"

namespace vellum {
namespace {

Result<> write(GuestRam& ram, GuestPhysRange room, std::span<const u8> bytes, std::string_view what) {
  const auto target = ram.bytes(room.start, room.size);
  if (target.empty())
    return fail(ErrorCode::kInvalidArgument,
                "the machine has {} KiB of memory, and its firmware's {} needs 1 MiB: raise --memory",
                ram.size() >> 10, what);
  if (bytes.size() > room.size)
    return fail(ErrorCode::kInvalidArgument,
                "the {} for so many processors take {} bytes and have {}: lower --cpus", what, bytes.size(),
                room.size);
  std::ranges::fill(target, u8{0});
  std::ranges::copy(bytes, target.begin());
  ram.note_store(room.start, room.size);
  return {};
}

// The few fields of the BIOS data area and of the extended one that kernels still read: Linux finds the end
// of base memory there, and where to look for the MP table.
std::array<u8, 0x100> bios_data_area() {
  std::array<u8, 0x100> area{};
  const auto put16 = [&](unsigned offset, u64 value) {
    area[offset] = static_cast<u8>(value);
    area[offset + 1] = static_cast<u8>(value >> 8);
  };
  constexpr u16 kTwoSerialPorts = 2 << 9, kFpu = 1 << 1;
  put16(0x00, layout::kCom1);
  put16(0x02, layout::kCom2);
  put16(0x0e, layout::kEbda.value >> 4);
  put16(0x10, kTwoSerialPorts | kFpu);
  put16(0x13, layout::kEbda.value >> 10);
  return area;
}

}  // namespace

Result<GuestPhys> write_firmware_tables(GuestRam& ram, const FirmwareConfig& config) {
  using namespace layout;
  const auto bda = bios_data_area();
  VELLUM_TRY(write(ram, {kBiosDataArea, bda.size()}, bda, "BIOS data area"));
  const std::array<u8, 1> ebda_kib{static_cast<u8>((kLowMemoryEnd - kEbda) >> 10)};
  VELLUM_TRY(write(ram, {kEbda, kLowMemoryEnd - kEbda}, ebda_kib, "extended BIOS data area"));
  VELLUM_TRY(write(ram, {kMpTable, kHighMemory - kMpTable}, build_mp_table(kMpTable, config), "MP table"));
  VELLUM_TRY(write(ram, {kAcpiTables, kMpTable - kAcpiTables}, build_acpi_tables(kAcpiTables, config),
                   "ACPI tables"));
  return kAcpiTables;
}

}  // namespace vellum
