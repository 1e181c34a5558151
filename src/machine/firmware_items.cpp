#include "machine/firmware_items.hpp"

#include <fmt/format.h>

#include "boot/acpi_loader.hpp"
#include "boot/memory_map.hpp"
#include "boot/table_builder.hpp"

namespace vellum {
namespace {

// etc/e820: only what is RAM; firmware adds what it takes of it. 20 bytes each: start, size, type.
std::vector<u8> memory_map(const GuestRam& ram) {
  TableBuilder table;
  for (const GuestPhysRange& range : ram.ranges()) {
    table.put<u64>(range.start.value);
    table.put<u64>(range.size);
    table.put<u32>(static_cast<u32>(MemoryType::kUsable));
  }
  return table.take();
}

// Lines, then a zero.
std::vector<u8> boot_order(const std::vector<std::string>& paths) {
  const std::string text = fmt::format("{}{}", fmt::join(paths, "\n"), '\0');
  return {text.begin(), text.end()};
}

}  // namespace

FwCfgItems firmware_items(const GuestRam& ram, const FirmwareRequest& request) {
  FwCfgItems items;
  items.add_number<u64>(FwCfgItems::kRamSize, ram.low_size());
  items.add_number<u16>(FwCfgItems::kNoGraphic, request.display ? 0 : 1);
  items.add_number<u16>(FwCfgItems::kCpuCount, static_cast<u16>(request.cpus));
  items.add_number<u16>(FwCfgItems::kMostCpus, static_cast<u16>(request.cpus));
  items.add_number<u32>(FwCfgItems::kIrq0Override, 1);  // IRQ 0 is I/O APIC input 2
  items.add_file("etc/e820", memory_map(ram));

  FirmwareConfig tables;
  tables.cpu_count = request.cpus;
  tables.pci = true;
  tables.ram_size = ram.size();
  tables.display = request.display;
  tables.floppy_drives = request.floppy_drives;
  AcpiFiles acpi = build_acpi_files(tables);
  items.add_file("etc/acpi/tables", std::move(acpi.tables));
  items.add_file("etc/acpi/rsdp", std::move(acpi.rsdp));
  items.add_file("etc/table-loader", std::move(acpi.script));
  if (request.pm_base)
    items.set_refresh("etc/acpi/tables", [tables, pm_base = request.pm_base](std::vector<u8>& bytes) mutable {
      const u16 base = pm_base().value_or(layout::kPm1aEvent);
      if (base == tables.pm_base) return;
      tables.pm_base = base;
      bytes = build_acpi_files(tables).tables;
    });

  items.add_file_number<u16>("etc/sercon-port", layout::kCom1);
  items.add_file_number<u32>("etc/boot-fail-wait", ~u32{0});  // stay there, rather than reset again and again
  if (!request.boot_order.empty()) items.add_file("bootorder", boot_order(request.boot_order));
  return items;
}

std::string ide_drive_path(unsigned channel, unsigned drive) {
  return fmt::format("/pci@i0cf8/ide@1,1/drive@{:x}/disk@{:x}", channel, drive);
}

// SeaBIOS looks for the controller by its first port, which has nothing in this mode.
std::string floppy_drive_path(unsigned drive) {
  return fmt::format("/pci@i0cf8/isa@1/fdc@03f0/floppy@{:x}", drive);
}

std::string virtio_disk_path(u8 devfn) {
  const unsigned device = devfn >> 3, function = devfn & 7;
  return function == 0 ? fmt::format("/pci@i0cf8/scsi@{:x}/disk@0,0", device)
                       : fmt::format("/pci@i0cf8/scsi@{:x},{:x}/disk@0,0", device, function);
}

}  // namespace vellum
