#include "boot/acpi_loader.hpp"

#include <string_view>

#include "boot/acpi_tables.hpp"
#include "boot/table_builder.hpp"

namespace vellum {
namespace {

constexpr std::string_view kTables = "etc/acpi/tables", kRsdp = "etc/acpi/rsdp";
constexpr std::size_t kRsdpSize = 36, kRsdpSizeOfVersion1 = 20, kRsdpRoom = 64, kHeaderSize = 36;
constexpr std::size_t kLengthField = 4, kChecksumField = 9;

u64 get(std::span<const u8> from, std::size_t offset, unsigned size) {
  VELLUM_ASSERT(offset + size <= from.size(), "field at {} of {}", offset, from.size());
  u64 value = 0;
  for (unsigned i = size; i-- > 0;) value = value << 8 | from[offset + i];
  return value;
}

class Script {
 public:
  enum class Zone : u8 { kHigh = 1, kBelow1Mib = 2 };

  void allocate(std::string_view file, u32 alignment, Zone zone) {
    TableBuilder entry = begin(1);
    entry.text(file, kNameSize, '\0');
    entry.put<u32>(alignment);
    entry.put<u8>(static_cast<u8>(zone));
    end(std::move(entry));
  }
  /// The `size` bytes at `offset` of `file` hold an offset into `target` and become an address.
  void add_pointer(std::string_view file, std::string_view target, std::size_t offset, u8 size) {
    TableBuilder entry = begin(2);
    entry.text(file, kNameSize, '\0');
    entry.text(target, kNameSize, '\0');
    entry.put<u32>(static_cast<u32>(offset));
    entry.put<u8>(size);
    end(std::move(entry));
  }
  void add_checksum(std::string_view file, std::size_t at, std::size_t start, std::size_t length) {
    TableBuilder entry = begin(3);
    entry.text(file, kNameSize, '\0');
    entry.put<u32>(static_cast<u32>(at));
    entry.put<u32>(static_cast<u32>(start));
    entry.put<u32>(static_cast<u32>(length));
    end(std::move(entry));
  }
  std::vector<u8> take() { return all_.take(); }

 private:
  static constexpr std::size_t kEntrySize = 128, kNameSize = 56;
  static TableBuilder begin(u32 command) {
    TableBuilder entry;
    entry.put<u32>(command);
    return entry;
  }
  void end(TableBuilder entry) {
    entry.pad_to(kEntrySize);
    all_.append(entry.bytes());
  }
  TableBuilder all_;
};

// Walks the tables from the roots and writes down what depends on where they lie.
class Relocations {
 public:
  Relocations(std::vector<u8>& tables, Script& script) : tables_(tables), script_(script) {}

  void table(u64 at) {
    const u64 length = get(tables_, at + kLengthField, 4);
    const auto signature = static_cast<u32>(get(tables_, at, 4));
    constexpr u32 kRsdt = 0x54445352, kXsdt = 0x54445358, kFadt = 0x50434146;
    if (signature == kRsdt) entries(at, length, 4);
    if (signature == kXsdt) entries(at, length, 8);
    if (signature == kFadt) {
      pointer(at + 36, 4);   // FIRMWARE_CTRL
      pointer(at + 40, 4);   // DSDT
      pointer(at + 140, 8);  // X_DSDT
      sum(get(tables_, at + 40, 4));
    }
    sum(at);
  }

 private:
  void entries(u64 root, u64 length, u8 size) {
    for (u64 at = root + kHeaderSize; at < root + length; at += size) {
      pointer(at, size);
      if (size == 4) table(get(tables_, at, size));  // both roots name the same tables
    }
  }
  void pointer(u64 at, u8 size) { script_.add_pointer(kTables, kTables, at, size); }
  void sum(u64 at) {
    tables_[at + kChecksumField] = 0;
    script_.add_checksum(kTables, at + kChecksumField, at, get(tables_, at + kLengthField, 4));
  }

  std::vector<u8>& tables_;
  Script& script_;
};

}  // namespace

AcpiFiles build_acpi_files(const FirmwareConfig& config) {
  // The RSDP and its room come first and go: what follows lies at 0, so pointers are offsets.
  const std::vector<u8> all = build_acpi_tables(GuestPhys(0) - kRsdpRoom, config);
  AcpiFiles files;
  files.rsdp.assign(all.begin(), all.begin() + kRsdpSize);
  files.tables.assign(all.begin() + kRsdpRoom, all.end());
  const u64 rsdt = get(files.rsdp, 16, 4), xsdt = get(files.rsdp, 24, 8);

  Script script;
  script.allocate(kRsdp, 16, Script::Zone::kBelow1Mib);
  script.allocate(kTables, 64, Script::Zone::kHigh);
  Relocations relocations(files.tables, script);
  relocations.table(rsdt);
  relocations.table(xsdt);
  script.add_pointer(kRsdp, kTables, 16, 4);
  script.add_pointer(kRsdp, kTables, 24, 8);
  files.rsdp[8] = files.rsdp[32] = 0;
  script.add_checksum(kRsdp, 8, 0, kRsdpSizeOfVersion1);
  script.add_checksum(kRsdp, 32, 0, kRsdpSize);
  files.script = script.take();
  return files;
}

}  // namespace vellum
