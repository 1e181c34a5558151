// The ACPI tables as files with a script, checked by an interpreter of such scripts.
#include "boot/acpi_loader.hpp"

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>

#include "boot/acpi_tables.hpp"

namespace vellum {
namespace {

constexpr FirmwareConfig kConfig{.cpu_count = 3, .cpu_signature = 0x6f1, .cpu_features = 0};

u64 get(const std::vector<u8>& from, std::size_t offset, unsigned size) {
  u64 value = 0;
  for (unsigned i = size; i-- > 0;) value = value << 8 | from.at(offset + i);
  return value;
}
void add(std::vector<u8>& to, std::size_t offset, unsigned size, u64 value) {
  value += get(to, offset, size);
  for (unsigned i = 0; i < size; ++i) to.at(offset + i) = static_cast<u8>(value >> (8 * i));
}

/// What firmware makes of the files when the tables lie at kTablesAt.
constexpr u64 kTablesAt = 0x7ff0000;
struct Placed {
  std::map<std::string, std::vector<u8>> files;
  std::map<std::string, u64> addresses;
};

std::string name_at(const std::vector<u8>& script, std::size_t offset) {
  return reinterpret_cast<const char*>(&script.at(offset));
}

Placed run(const AcpiFiles& acpi) {
  Placed p;
  p.files = {{"etc/acpi/tables", acpi.tables}, {"etc/acpi/rsdp", acpi.rsdp}};
  for (std::size_t at = 0; at < acpi.script.size(); at += 128) {
    const u64 command = get(acpi.script, at, 4);
    const std::string file = name_at(acpi.script, at + 4);
    std::vector<u8>& bytes = p.files.at(file);
    if (command == 1) {
      p.addresses[file] = get(acpi.script, at + 64, 1) == 2 ? 0xf5a00 : kTablesAt;
    } else if (command == 2) {
      add(bytes, get(acpi.script, at + 116, 4), static_cast<unsigned>(get(acpi.script, at + 120, 1)),
          p.addresses.at(name_at(acpi.script, at + 60)));
    } else {
      const auto start = bytes.begin() + static_cast<long>(get(acpi.script, at + 64, 4));
      const u64 length = get(acpi.script, at + 68, 4);
      EXPECT_EQ(bytes.at(get(acpi.script, at + 60, 4)), 0) << "EDK II sums with what is there";
      bytes.at(get(acpi.script, at + 60, 4)) =
          static_cast<u8>(0 - std::accumulate(start, start + static_cast<long>(length), 0u));
    }
  }
  return p;
}

TEST(AcpiLoader, PlacedTablesAreThoseBuiltForThatPlace) {
  const Placed placed = run(build_acpi_files(kConfig));

  const auto expected = build_acpi_tables(GuestPhys(kTablesAt - 64), kConfig);

  EXPECT_EQ(placed.files.at("etc/acpi/tables"), std::vector<u8>(expected.begin() + 64, expected.end()));
  EXPECT_EQ(placed.files.at("etc/acpi/rsdp"), std::vector<u8>(expected.begin(), expected.begin() + 36));
}

TEST(AcpiLoader, TheRsdpIsWhereASearchFindsIt) {
  const Placed placed = run(build_acpi_files(kConfig));

  EXPECT_LT(placed.addresses.at("etc/acpi/rsdp"), 0x100000u);
  EXPECT_EQ(build_acpi_files(kConfig).script.size() % 128, 0u);
}

}  // namespace
}  // namespace vellum
